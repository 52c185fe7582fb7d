#include "worker/nn/parameter_set.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/base/random.h"
#include "worker/kernels/threads.h"

namespace trireme::worker::nn {
namespace {

constexpr std::int64_t kBlock = 65536;

template <class Fill>
void fill_blocks(at::Tensor& tensor, std::uint64_t seed, const std::string& name, const Fill& fill) {
  float* const data = tensor.data_ptr<float>();
  const std::int64_t count = tensor.numel(), blocks = (count + kBlock - 1) / kBlock;
  const std::uint64_t key = name_key(name);
  kernels::over_threads(0, blocks, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      RandomStream stream(seed, RandomPurpose::kInitialWeights, key, static_cast<std::uint32_t>(block));
      fill(stream, data + block * kBlock, std::min(kBlock, count - block * kBlock));
    }
  });
}

// (0, 1]: never the zero that a logarithm cannot take.
float open_uniform(RandomStream& stream) {
  return (static_cast<float>(stream.next_u32() >> 8) + 1.0f) * 0x1p-24f;
}

}  // namespace

void fill_normal(at::Tensor& tensor, std::uint64_t seed, const std::string& name, double standard_deviation) {
  const float scale = static_cast<float>(standard_deviation);
  fill_blocks(tensor, seed, name, [scale](RandomStream& stream, float* out, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += 2) {  // Box–Muller, both halves used
      const float radius = scale * std::sqrt(-2.0f * std::log(open_uniform(stream)));
      const float angle = 2.0f * std::numbers::pi_v<float> * open_uniform(stream);
      out[i] = radius * std::cos(angle);
      if (i + 1 < count) out[i + 1] = radius * std::sin(angle);
    }
  });
}

void fill_uniform(at::Tensor& tensor, std::uint64_t seed, const std::string& name, double bound) {
  const float scale = static_cast<float>(2 * bound), low = static_cast<float>(-bound);
  fill_blocks(tensor, seed, name, [scale, low](RandomStream& stream, float* out, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = low + scale * (static_cast<float>(stream.next_u32() >> 8) * 0x1p-24f);
  });
}

at::Tensor ParameterSet::append(NamedTensor entry, at::IntArrayRef sizes) {
  if (!names_.insert(entry.name).second)
    throw Error(ErrorKind::kInternal, "two model tensors are called " + entry.name);
  entry.tensor = at::empty(sizes, at::kFloat);
  entries_.push_back(entry);
  return entry.tensor;
}

at::Tensor ParameterSet::normal(const std::string& name, at::IntArrayRef sizes, double standard_deviation) {
  return append({name, {}, false, NamedTensor::Start::kNormal, standard_deviation}, sizes);
}

at::Tensor ParameterSet::uniform(const std::string& name, at::IntArrayRef sizes, double bound) {
  return append({name, {}, false, NamedTensor::Start::kUniform, bound}, sizes);
}

at::Tensor ParameterSet::constant(const std::string& name, at::IntArrayRef sizes, double value, bool buffer) {
  return append({name, {}, buffer, NamedTensor::Start::kConstant, value}, sizes);
}

void ParameterSet::draw(const std::unordered_set<std::string>& except) {
  const at::NoGradGuard no_grad;
  for (NamedTensor& entry : entries_) {
    if (except.contains(entry.name)) continue;
    if (entry.start == NamedTensor::Start::kNormal)
      fill_normal(entry.tensor, seed_, entry.name, entry.scale);
    else if (entry.start == NamedTensor::Start::kUniform)
      fill_uniform(entry.tensor, seed_, entry.name, entry.scale);
    else
      entry.tensor.fill_(entry.scale);
  }
}

}  // namespace trireme::worker::nn
