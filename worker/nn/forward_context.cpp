#include "worker/nn/forward_context.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <ATen/ATen.h>

#include "worker/kernels/sent.h"

namespace trireme::worker::nn {

RandomStream ForwardContext::stream(const std::string& layer, std::int64_t row) const {
  const auto key = name_key(layer) + (static_cast<std::uint64_t>(step) << 24) +
                   static_cast<std::uint64_t>(first_row + row);
  return RandomStream(seed, RandomPurpose::kDropout, key, static_cast<std::uint32_t>(slot));
}

BatchStatistics::BatchStatistics(std::int64_t channels)
    : channels_(channels), numbers_(at::zeros({2 * channels + 1}, at::kFloat)) {}

void BatchStatistics::add(std::int64_t first, const at::Tensor& mean_C, const at::Tensor& variance_C) {
  const at::NoGradGuard no_grad;
  numbers_ = kernels::sent_to(numbers_, mean_C.device());  // with the first one
  numbers_.narrow(0, first, mean_C.numel()).add_(mean_C.detach());
  numbers_.narrow(0, channels_ + first, variance_C.numel()).add_(variance_C.detach());
}

void BatchStatistics::count_groups(std::int64_t groups) {
  const at::NoGradGuard no_grad;
  numbers_.narrow(0, 2 * channels_, 1).add_(static_cast<double>(groups));
}

at::Tensor stochastic_depth(const at::Tensor& branch_B, double rate, const ForwardContext& context,
                            const std::string& layer) {
  if (!context.training || rate <= 0) return branch_B;
  const std::int64_t batch = branch_B.size(0);
  at::Tensor keep_B = at::empty({batch}, at::kFloat);
  for (std::int64_t i = 0; i < batch; ++i)
    keep_B.data_ptr<float>()[i] =
        context.stream(layer, i).uniform() < rate ? 0.0f : static_cast<float>(1 / (1 - rate));
  std::vector<std::int64_t> shape(static_cast<std::size_t>(branch_B.dim()), 1);
  shape[0] = batch;
  return branch_B * kernels::sent_to(keep_B.to(branch_B.scalar_type()), branch_B.device()).view(shape);
}

at::Tensor kept_patches(std::int64_t batch, std::int64_t patches, double rate,
                        const ForwardContext& context) {
  const auto kept =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(patches) * (1 - rate) + 1e-9));
  at::Tensor places_BK = at::empty({batch, kept}, at::kLong);
  std::vector<std::int64_t> order(static_cast<std::size_t>(patches));
  for (std::int64_t row = 0; row < batch; ++row) {
    RandomStream random = context.stream("patches", row);
    std::iota(order.begin(), order.end(), 0);
    for (std::int64_t i = 0; i < kept; ++i)  // Fisher–Yates, as far as needed
      std::swap(order[static_cast<std::size_t>(i)],
                order[static_cast<std::size_t>(
                    i + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(patches - i))))]);
    std::sort(order.begin(), order.begin() + kept);
    std::copy_n(order.begin(), kept, places_BK.data_ptr<std::int64_t>() + row * kept);
  }
  return places_BK;
}

}  // namespace trireme::worker::nn
