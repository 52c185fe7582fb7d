#include "worker/optim/lamb.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trireme::worker::optim {

Lamb::Lamb(const NamedTensors& parameters, double beta2, double epsilon, const GroupOptions& groups)
    : Optimizer(parameters, groups), large_first_(slots_.size()), beta2_(beta2), epsilon_(epsilon) {
  std::iota(large_first_.begin(), large_first_.end(), std::size_t{0});
  std::stable_sort(large_first_.begin(), large_first_.end(), [this](std::size_t a, std::size_t b) {
    return slots_[a].parameter.numel() > slots_[b].parameter.numel();
  });
}

void Lamb::update(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each) {
  for_each(static_cast<std::int64_t>(slots_.size()), [&](std::int64_t i) {
    const auto index = large_first_[static_cast<std::size_t>(i)];
    const at::NoGradGuard no_grad;
    if (updates_ > slots_[index].treatment.late_updates)
      masked(slots_[index], [&] { update_one(slots_[index], gradients[index], rates); });
  });
}

void Lamb::update_one(Slot& slot, const at::Tensor& gradient, const Rates& rates) const {
  const auto k = static_cast<double>(updates_ - slot.treatment.late_updates);
  slot.mean.mul_(rates.beta1).add_(gradient, 1 - rates.beta1);
  slot.square.mul_(beta2_).addcmul_(gradient, gradient, 1 - beta2_);
  // By what is left of 1 after k updates at this beta.
  const auto corrected = [&](const at::Tensor& mean, double beta) {
    if (!waits()) return mean / (1 - std::pow(beta, k));
    return mean / (1 - at::pow(beta, count_ - static_cast<double>(slot.treatment.late_updates)));
  };
  at::Tensor denominator = corrected(slot.square, beta2_).sqrt_().add_(epsilon_);
  at::Tensor change = corrected(slot.mean, rates.beta1).div_(denominator);
  if (slot.treatment.weight_decay != 0) change.add_(slot.parameter, slot.treatment.weight_decay);
  const double rate = rates.learning_rate * slot.treatment.learning_rate_factor;
  if (waits() && slot.treatment.layer_adaptation) {
    const at::Tensor weight = at::norm(slot.parameter, 2, at::kDouble),
                     length = at::norm(change, 2, at::kDouble);
    const at::Tensor ratio =
        at::where(weight.gt(0).logical_and(length.gt(0)), weight / length, at::ones_like(weight));
    slot.parameter.sub_(change.mul_(ratio * rate));
    return;
  }
  double ratio = 1;
  if (slot.treatment.layer_adaptation) {
    const auto weight = at::norm(slot.parameter, 2, at::kDouble).item<double>();
    const auto length = at::norm(change, 2, at::kDouble).item<double>();
    if (weight > 0 && length > 0) ratio = weight / length;
  }
  slot.parameter.sub_(change, rate * ratio);
}

}  // namespace trireme::worker::optim
