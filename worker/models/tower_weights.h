// Published weights into our tensors, by name; every fault at once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/checkpoint/safetensors.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

// Collects what does not fit and throws once: at most the first 20 faults, with the nearest names.
class WeightFaults {
 public:
  explicit WeightFaults(std::string source) : source_(std::move(source)) {}
  void missing(const std::string& name, const std::vector<std::string>& there);
  void surplus(const std::string& name, const std::vector<std::string>& expected);
  void mismatch(const std::string& name, at::IntArrayRef expected, at::IntArrayRef found);
  void add(const std::string& fault);
  bool empty() const { return count_ == 0; }
  void throw_if_any(const std::string& hint) const;  // kInvalid

 private:
  std::string source_, lines_;
  std::int64_t count_ = 0;
};

// How a file's names relate to ours. ours -> candidates in the file, best first; ignored(name) for tensors of
// the file that belong to another part (heads, poolers, the other tower).
struct NameMap {
  std::function<std::vector<std::string>(const std::string& ours)> candidates;
  std::function<bool(const std::string& theirs)> ignored;
};
NameMap clip_image_names();
NameMap clip_text_names();
NameMap efficientnet_names();
NameMap bert_names();

// Copies every tensor of `targets` from the file (converted to float32). positional_embedding may be longer
// in the file: its first rows are taken. `optional` names (projections, temperature) may be absent. Throws
// kInvalid naming the file.
void load_tower(const checkpoint::SafetensorsFile& file, const std::string& path, const NameMap& names,
                const std::vector<nn::NamedTensor>& targets, const std::vector<std::string>& optional);

}  // namespace trireme::worker::models
