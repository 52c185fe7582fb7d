// The flat, named list of a model's tensors and how each is drawn at the start. A tensor's first values
// depend on (seed, its name) alone, never on the order of construction, the number of threads or the rank.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::nn {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;  // a handle: modules hold the same storage
  bool buffer = false;
};

class ParameterSet {
 public:
  // `draw` false leaves every tensor unwritten, for models whose state is loaded next.
  ParameterSet(std::uint64_t seed, bool draw) : seed_(seed), draw_(draw) {}

  // float32 on the CPU. Each call appends; names must be distinct (kInternal).
  at::Tensor normal(const std::string& name, at::IntArrayRef sizes, double standard_deviation);
  at::Tensor uniform(const std::string& name, at::IntArrayRef sizes, double bound);  // [-bound, bound)
  at::Tensor constant(const std::string& name, at::IntArrayRef sizes, double value, bool buffer = false);

  const std::vector<NamedTensor>& entries() const { return entries_; }

 private:
  at::Tensor append(const std::string& name, at::IntArrayRef sizes, bool buffer);
  std::uint64_t seed_;
  bool draw_;
  std::vector<NamedTensor> entries_;
};

// Fills a contiguous float32 tensor from RandomStream(seed, kInitialWeights, name_key(name), block), one
// block per 65,536 elements, so that threads share the work without changing a bit.
void fill_normal(at::Tensor& tensor, std::uint64_t seed, const std::string& name, double standard_deviation);
void fill_uniform(at::Tensor& tensor, std::uint64_t seed, const std::string& name, double bound);

}  // namespace trireme::worker::nn
