#include "worker/optim/weight_average.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace trireme::worker::optim {

WeightAverage::WeightAverage(const NamedTensors& parameters, double decay, bool warm_up)
    : decay_(decay), warm_up_(warm_up) {
  for (const auto& [name, tensor] : parameters) {
    parameters_.emplace_back(name, tensor.detach());
    averages_.push_back(tensor.detach().clone());
  }
}

void WeightAverage::update(const ForEach& for_each, const at::Tensor& taken) {
  if (taken.defined() && !count_.defined())
    count_ = at::full({}, static_cast<double>(updates_), taken.options());
  if (!taken.defined()) count_ = at::Tensor();
  ++updates_;
  if (taken.defined()) {
    count_ = count_ + taken;
    const at::Tensor decay =
        warm_up_ ? ((1 + count_) / (10 + count_)).clamp_max(decay_) : at::full_like(taken, decay_);
    const at::Tensor share = (1 - decay) * taken;
    for_each(static_cast<std::int64_t>(averages_.size()), [&](std::int64_t i) {
      const at::NoGradGuard no_grad;
      const auto at = static_cast<std::size_t>(i);
      averages_[at].lerp_(parameters_[at].second, share.to(averages_[at].scalar_type()));
    });
    return;
  }
  const auto k = static_cast<double>(updates_);
  const double decay = warm_up_ ? std::min(decay_, (1 + k) / (10 + k)) : decay_;
  for_each(static_cast<std::int64_t>(averages_.size()), [&](std::int64_t i) {
    const at::NoGradGuard no_grad;
    const auto at = static_cast<std::size_t>(i);
    averages_[at].lerp_(parameters_[at].second, 1 - decay);
  });
}

void WeightAverage::exchange() {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const at::Tensor weights = parameters_[i].second.clone();
    parameters_[i].second.copy_(averages_[i]);
    averages_[i].copy_(weights);
  }
}

NamedTensors WeightAverage::state() const {
  NamedTensors all;
  for (std::size_t i = 0; i < averages_.size(); ++i) all.emplace_back(parameters_[i].first, averages_[i]);
  all.emplace_back("updates", at::full({1}, updates_, at::kLong));
  return all;
}

void WeightAverage::load_state(const NamedTensors& state) {
  at::Tensor updates = at::zeros({1}, at::kLong);
  NamedTensors into = this->state();
  into.back().second = updates;
  copy_state(into, state, "the average of the weights does not fit the model:");
  updates_ = updates.item<std::int64_t>();
  count_ = at::Tensor();
}

}  // namespace trireme::worker::optim
