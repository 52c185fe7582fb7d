// The flat, named list of a model's tensors and how each is drawn at the start. A tensor's first values
// depend on (seed, its name) alone, never on the order of construction, the number of threads or the rank.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::nn {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;  // a handle: modules hold the same storage
  bool buffer = false;
  enum class Start { kNormal, kUniform, kConstant } start = Start::kConstant;
  double scale = 0;  // deviation, bound or value
};

class ParameterSet {
 public:
  explicit ParameterSet(std::uint64_t seed) : seed_(seed) {}

  // float32 on the CPU, allocated once and not yet written: its pages are touched first by the weights that
  // are loaded into it, or by draw(). Each call appends; names must be distinct (kInternal).
  at::Tensor normal(const std::string& name, at::IntArrayRef sizes, double standard_deviation);
  at::Tensor uniform(const std::string& name, at::IntArrayRef sizes, double bound);  // [-bound, bound)
  at::Tensor constant(const std::string& name, at::IntArrayRef sizes, double value, bool buffer = false);

  // Writes the first values of every tensor but those named.
  void draw(const std::unordered_set<std::string>& except = {});

  const std::vector<NamedTensor>& entries() const { return entries_; }

 private:
  at::Tensor append(NamedTensor entry, at::IntArrayRef sizes);
  std::uint64_t seed_;
  std::vector<NamedTensor> entries_;
  std::unordered_set<std::string> names_;
};

// Fills a contiguous float32 tensor from RandomStream(seed, kInitialWeights, name_key(name), block), one
// block per 65,536 elements, so that threads share the work without changing a bit.
void fill_normal(at::Tensor& tensor, std::uint64_t seed, const std::string& name, double standard_deviation);
void fill_uniform(at::Tensor& tensor, std::uint64_t seed, const std::string& name, double bound);

}  // namespace trireme::worker::nn
