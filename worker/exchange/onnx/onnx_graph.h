// One ONNX graph (operator set 17) as it grows: nodes are added in the order in which they run, values are
// known by their names. A library of its own, which knows no torch: protobuf's headers lie among torch's,
// too, in another version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace trireme::worker::exchange {

using OnnxAttribute =
    std::pair<std::string_view, std::variant<std::int64_t, double, std::vector<std::int64_t>>>;

// A side of a shape: its length, or the name of one that is free.
using OnnxSide = std::variant<std::int64_t, std::string_view>;

class OnnxGraph {
 public:
  explicit OnnxGraph(const std::string& name);
  ~OnnxGraph();

  // float32, or int64 where `whole`.
  std::string input(const std::string& name, const std::vector<OnnxSide>& sides, bool whole = false);
  void output(const std::string& value, const std::string& name, const std::vector<OnnxSide>& sides);

  enum class Type { kFloat32, kInt64, kBool };
  // An initializer of the bytes of a tensor, row by row.
  std::string constant(Type type, const std::vector<std::int64_t>& sides, const void* bytes,
                       std::size_t size);

  // The first output of a new node; `outputs` of them, by split().
  std::string add(std::string_view op, const std::vector<std::string>& inputs,
                  const std::vector<OnnxAttribute>& attributes = {});
  std::vector<std::string> split(const std::string& value, std::int64_t axis, std::size_t pieces);

  // The file. Throws kInvalid where it would hold more than the 2 GiB of a protobuf message.
  std::string bytes(const std::string& producer_version) const;

 private:
  struct Proto;
  std::unique_ptr<Proto> proto_;
};

}  // namespace trireme::worker::exchange
