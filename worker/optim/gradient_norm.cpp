#include "worker/optim/gradient_norm.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trireme::worker::optim {
namespace {

constexpr std::int64_t kBlock = 1 << 20;  // elements one thread sums

// In float64, one pass over the memory, in 16 partial sums that the compiler can keep in registers.
double sum_of_squares(const float* x, std::int64_t count) {
  double lane[16] = {};
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int k = 0; k < 16; ++k) lane[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
  for (int k = 0; i < count; ++i, ++k) lane[k] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  double sum = 0;
  for (const double part : lane) sum += part;
  return sum;
}

// Part of one gradient in host memory.
struct Block {
  const float* first = nullptr;
  std::int64_t count = 0;
};

double norm_on_host(const std::vector<at::Tensor>& gradients, const ForEach& for_each) {
  std::vector<Block> blocks;
  std::vector<at::Tensor> held;
  for (const auto& gradient : gradients) {
    held.push_back(gradient.contiguous());
    const float* data = held.back().const_data_ptr<float>();
    for (std::int64_t at = 0; at < gradient.numel(); at += kBlock)
      blocks.push_back({data + at, std::min(kBlock, gradient.numel() - at)});
  }
  std::vector<double> sums(blocks.size());
  const auto share = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) sums[i] = sum_of_squares(blocks[i].first, blocks[i].count);
  };
  std::vector<std::size_t> cuts{0};
  std::int64_t filled = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    filled += blocks[i].count;
    if (filled < kBlock && i + 1 < blocks.size()) continue;
    cuts.push_back(i + 1);
    filled = 0;
  }
  for_each(static_cast<std::int64_t>(cuts.size()) - 1, [&](std::int64_t i) {
    share(cuts[static_cast<std::size_t>(i)], cuts[static_cast<std::size_t>(i) + 1]);
  });
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

}  // namespace

double gradient_norm(const std::vector<at::Tensor>& gradients, const ForEach& for_each) {
  if (gradients.empty()) return 0;
  if (gradients.front().is_cpu()) return norm_on_host(gradients, for_each);
  // One look at the device.
  return gradient_norm_there(gradients).item<double>();
}

at::Tensor gradient_norm_there(const std::vector<at::Tensor>& gradients) {
  return at::stack(at::_foreach_norm(gradients, 2, at::kDouble)).square().sum().sqrt();
}

void clip_gradients_there(const std::vector<at::Tensor>& gradients, const at::Tensor& norm, double most) {
  if (most > 0) at::_foreach_mul_(gradients, (most / norm).clamp_max(1).to(at::kFloat));
}

double clip_gradients(const std::vector<at::Tensor>& gradients, double norm, double most,
                      const ForEach& for_each) {
  if (most <= 0 || norm <= most) return 1;
  const double factor = most / norm;
  if (!gradients.front().is_cpu()) {
    at::_foreach_mul_(gradients, factor);
    return factor;
  }
  for_each(static_cast<std::int64_t>(gradients.size()),
           [&](std::int64_t i) { gradients[static_cast<std::size_t>(i)].mul_(factor); });
  return factor;
}

}  // namespace trireme::worker::optim
