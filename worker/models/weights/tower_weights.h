// Published weights into our tensors, by name; every fault at once.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/model_spec.h"
#include "worker/checkpoint/name_map.h"
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

enum class WeightPart { kImage, kText, kTemperature, kBoth };
enum class WeightReading {
  kCopy,
  kCompare
};  // kCompare: names, shapes, dtypes and config; no target changes

// Copies every tensor of `targets` from a file of any layout that name_map.h knows, converted to float32.
// Projections and the temperature may be absent there, or be surplus. Position embeddings of another
// resolution are interpolated (ImageTowerSpec::position_resize, METHODS 2.5), a longer context is cut where
// the text tower cannot see the difference. What the config beside the file says (jobs/checkpoint) must be
// what the spec says. Names found are added to `loaded`. Throws kInvalid naming the file and all faults.
void load_weights(const std::string& path, const jobs::ModelSpec& spec, WeightPart part,
                  const std::vector<nn::NamedTensor>& targets, std::unordered_set<std::string>& loaded,
                  WeightReading reading = WeightReading::kCopy);

// [before + g g, T] -> [before + side side, T]: the class token's row stays, the grid is interpolated
// bicubic, with half-pixel centres and antialias, or with aligned corners.
at::Tensor resize_positions(const at::Tensor& positions_GT, std::int64_t side, bool align_corners,
                            std::int64_t before = 1);

}  // namespace trireme::worker::models
