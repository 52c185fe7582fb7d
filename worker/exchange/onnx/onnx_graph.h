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

#include "common/io/file.h"

namespace trireme::worker::exchange {

using OnnxAttribute =
    std::pair<std::string_view, std::variant<std::int64_t, double, std::vector<std::int64_t>>>;

// A side of a shape: its length, or the name of one that is free.
using OnnxSide = std::variant<std::int64_t, std::string_view>;

class OnnxGraph {
 public:
  // Of most bytes of one protobuf message, less what else a file has.
  static constexpr std::size_t kMostBytes = (std::size_t{1} << 31) - (std::size_t{1} << 20);
  // `most`: bytes of constants that one file may hold.
  explicit OnnxGraph(const std::string& name, std::size_t most = kMostBytes);
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

  // One file; where its constants are more than `most` bytes, those of 1 KiB and more lie in <file>.data, as
  // ONNX's external data: the graph names that file, which must lie beside it. Atomic, the data first.
  void write(const io::Path& file, const std::string& producer_version) const;

 private:
  struct Proto;
  std::unique_ptr<Proto> proto_;
};

}  // namespace trireme::worker::exchange
