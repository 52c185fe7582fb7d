#include "worker/exchange/onnx/onnx_graph.h"

#include <cstring>

namespace trireme::worker::exchange {
namespace {

constexpr std::uint64_t kIrVersion = 8, kOperatorSet = 17;
constexpr std::size_t kLeastApart = 1024;  // smaller constants stay in the graph: shapes are read early
constexpr std::size_t kAlignment = 4096;   // of what lies apart, so that it can be mapped

// Numbers of onnx.proto's fields and enums.
enum Model : unsigned {
  kModelIr = 1,
  kModelProducer = 2,
  kModelProducerVersion = 3,
  kModelGraph = 7,
  kModelOperators = 8
};
enum Graph : unsigned {
  kGraphNode = 1,
  kGraphName = 2,
  kGraphInitializer = 5,
  kGraphInput = 11,
  kGraphOutput = 12
};
enum Node : unsigned { kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kNodeOp = 4, kNodeAttribute = 5 };
enum Attribute : unsigned {
  kAttributeName = 1,
  kAttributeFloat = 2,
  kAttributeInt = 3,
  kAttributeInts = 8,
  kAttributeType = 20
};
enum AttributeType : unsigned { kFloatAttribute = 1, kIntAttribute = 2, kIntsAttribute = 7 };
enum TensorField : unsigned {
  kTensorSide = 1,
  kTensorType = 2,
  kTensorName = 8,
  kTensorBytes = 9,
  kTensorApart = 13,
  kTensorPlace = 14
};
constexpr std::uint64_t kPlaceApart = 1;
enum DataType : unsigned { kFloat = 1, kInt64 = 7, kBool = 9 };

// Fields of a protobuf message, one behind another: a tag (number and wire type) and a value.
class Message {
 public:
  void number(unsigned field, std::uint64_t value) {
    varint(field << 3);
    varint(value);
  }
  void real(unsigned field, float value) {
    varint(field << 3 | 5);
    char four[4];
    std::memcpy(four, &value, 4);  // little-endian, as this machine is
    bytes_.append(four, 4);
  }
  void text(unsigned field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes_ += value;
  }
  void message(unsigned field, const Message& value) { text(field, value.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 128; value >>= 7) bytes_ += static_cast<char>(value | 128);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

Message described(const std::string& name, const std::vector<OnnxSide>& sides, bool whole) {
  Message shape, tensor, type, value;
  for (const auto& side : sides) {
    Message dimension;
    if (const auto* length = std::get_if<std::int64_t>(&side))
      dimension.number(1, static_cast<std::uint64_t>(*length));
    else
      dimension.text(2, std::get<std::string_view>(side));
    shape.message(1, dimension);
  }
  tensor.number(1, whole ? kInt64 : kFloat);
  tensor.message(2, shape);
  type.message(1, tensor);
  value.text(1, name);
  value.message(2, type);
  return value;
}

Message attribute_of(const OnnxAttribute& from) {
  const auto& [name, value] = from;
  Message attribute;
  attribute.text(kAttributeName, name);
  if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    attribute.number(kAttributeInt, static_cast<std::uint64_t>(*whole));
    attribute.number(kAttributeType, kIntAttribute);
  } else if (const auto* real = std::get_if<double>(&value)) {
    attribute.real(kAttributeFloat, static_cast<float>(*real));
    attribute.number(kAttributeType, kFloatAttribute);
  } else {
    for (const auto one : std::get<std::vector<std::int64_t>>(value))
      attribute.number(kAttributeInts, static_cast<std::uint64_t>(one));
    attribute.number(kAttributeType, kIntsAttribute);
  }
  return attribute;
}

struct Constant {
  Message head;  // all but its bytes
  std::string bytes;
};

// Entry of a tensor that lies apart.
Message apart(const char* key, const std::string& value) {
  Message entry;
  entry.text(1, key);
  entry.text(2, value);
  return entry;
}

}  // namespace

struct OnnxGraph::Proto {
  Message graph;
  std::vector<Constant> constants;
  std::size_t size = 0, most = 0;  // of the constants
  std::int64_t made = 0;

  std::string name(std::string_view of) { return std::string(of) + "_" + std::to_string(made++); }
  void node(std::string_view op, const std::string& name, const std::vector<std::string>& inputs,
            const std::vector<std::string>& outputs, const std::vector<OnnxAttribute>& attributes) {
    Message made_node;
    for (const auto& one : inputs) made_node.text(kNodeInput, one);
    for (const auto& one : outputs) made_node.text(kNodeOutput, one);
    made_node.text(kNodeName, name);
    made_node.text(kNodeOp, op);
    for (const auto& one : attributes) made_node.message(kNodeAttribute, attribute_of(one));
    graph.message(kGraphNode, made_node);
  }
};

OnnxGraph::OnnxGraph(const std::string& name, std::size_t most) : proto_(std::make_unique<Proto>()) {
  proto_->graph.text(kGraphName, name);
  proto_->most = most;
}

OnnxGraph::~OnnxGraph() = default;

std::string OnnxGraph::input(const std::string& name, const std::vector<OnnxSide>& sides, bool whole) {
  proto_->graph.message(kGraphInput, described(name, sides, whole));
  return name;
}

void OnnxGraph::output(const std::string& value, const std::string& name,
                       const std::vector<OnnxSide>& sides) {
  proto_->node("Identity", name, {value}, {name}, {});
  proto_->graph.message(kGraphOutput, described(name, sides, false));
}

std::string OnnxGraph::constant(Type type, const std::vector<std::int64_t>& sides, const void* bytes,
                                std::size_t size) {
  const std::string name = proto_->name("constant");
  Message tensor;
  for (const auto side : sides) tensor.number(kTensorSide, static_cast<std::uint64_t>(side));
  tensor.number(kTensorType, type == Type::kBool ? kBool : type == Type::kFloat32 ? kFloat : kInt64);
  tensor.text(kTensorName, name);
  proto_->constants.push_back({std::move(tensor), {static_cast<const char*>(bytes), size}});
  proto_->size += size;
  return name;
}

std::string OnnxGraph::add(std::string_view op, const std::vector<std::string>& inputs,
                           const std::vector<OnnxAttribute>& attributes) {
  const std::string name = proto_->name(op);
  proto_->node(op, name, inputs, {name}, attributes);
  return name;
}

std::vector<std::string> OnnxGraph::split(const std::string& value, std::int64_t axis, std::size_t pieces) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < pieces; ++i) names.push_back(proto_->name("piece"));
  proto_->node("Split", proto_->name("Split"), {value}, names, {{"axis", axis}});
  return names;
}

void OnnxGraph::write(const io::Path& file, const std::string& producer_version) const {
  const bool split = proto_->size > proto_->most;
  const io::Path data = file.string() + ".data", unfinished = data.string() + ".part";
  std::unique_ptr<io::FileWriter> beside;
  if (split) beside = std::make_unique<io::FileWriter>(unfinished);
  Message graph = proto_->graph;
  for (const auto& constant : proto_->constants) {
    Message tensor = constant.head;
    if (split && constant.bytes.size() >= kLeastApart) {
      beside->write(std::string((kAlignment - beside->size() % kAlignment) % kAlignment, '\0'));
      tensor.message(kTensorApart, apart("location", data.filename().string()));
      tensor.message(kTensorApart, apart("offset", std::to_string(beside->size())));
      tensor.message(kTensorApart, apart("length", std::to_string(constant.bytes.size())));
      tensor.number(kTensorPlace, kPlaceApart);
      beside->write(constant.bytes);
    } else {
      tensor.text(kTensorBytes, constant.bytes);
    }
    graph.message(kGraphInitializer, tensor);
  }
  if (split) {
    beside->finish();
    io::rename_durably(unfinished, data);
  }
  Message operators, model;
  operators.number(2, kOperatorSet);
  model.number(kModelIr, kIrVersion);
  model.text(kModelProducer, "trireme");
  model.text(kModelProducerVersion, producer_version);
  model.message(kModelOperators, operators);
  model.message(kModelGraph, graph);
  io::write_file_atomic(file, model.bytes());
}

}  // namespace trireme::worker::exchange
