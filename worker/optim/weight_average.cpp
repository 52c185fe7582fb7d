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

void WeightAverage::update(const ForEach& for_each) {
  ++updates_;
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
}

}  // namespace trireme::worker::optim
