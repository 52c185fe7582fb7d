#include "worker/exchange/onnx/onnx_graph.h"

#include <cstring>

#include "common/base/error.h"

namespace trireme::worker::exchange {
namespace {

constexpr std::uint64_t kIrVersion = 8, kOperatorSet = 17;
constexpr std::size_t kMostBytes = (std::size_t{1} << 31) - (std::size_t{1} << 20);

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
enum TensorField : unsigned { kTensorSide = 1, kTensorType = 2, kTensorName = 8, kTensorBytes = 9 };
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

}  // namespace

struct OnnxGraph::Proto {
  Message graph;
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

OnnxGraph::OnnxGraph(const std::string& name) : proto_(std::make_unique<Proto>()) {
  proto_->graph.text(kGraphName, name);
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
  if (proto_->graph.bytes().size() + size > kMostBytes)
    throw Error(ErrorKind::kInvalid, "a tower of more than 2 GiB does not fit into one .onnx file",
                "export it for open_clip or transformers");
  const std::string name = proto_->name("constant");
  Message tensor;
  for (const auto side : sides) tensor.number(kTensorSide, static_cast<std::uint64_t>(side));
  tensor.number(kTensorType, type == Type::kBool ? kBool : type == Type::kFloat32 ? kFloat : kInt64);
  tensor.text(kTensorName, name);
  tensor.text(kTensorBytes, {static_cast<const char*>(bytes), size});
  proto_->graph.message(kGraphInitializer, tensor);
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

std::string OnnxGraph::bytes(const std::string& producer_version) const {
  Message operators, model;
  operators.number(2, kOperatorSet);
  model.number(kModelIr, kIrVersion);
  model.text(kModelProducer, "trireme");
  model.text(kModelProducerVersion, producer_version);
  model.message(kModelOperators, operators);
  model.message(kModelGraph, proto_->graph);
  return model.bytes();
}

}  // namespace trireme::worker::exchange
