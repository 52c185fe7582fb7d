#include "worker/optim/sgd.h"

#include <ATen/ATen.h>

namespace trireme::worker::optim {

Sgd::Sgd(const NamedTensors& parameters, double momentum, const GroupOptions& groups)
    : Optimizer(parameters, groups), momentum_(momentum) {}

void Sgd::update(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each) {
  for_each(static_cast<std::int64_t>(slots_.size()), [&](std::int64_t i) {
    const at::NoGradGuard no_grad;
    Slot& slot = slots_[static_cast<std::size_t>(i)];
    if (updates_ <= slot.treatment.late_updates) return;
    at::Tensor slope = gradients[static_cast<std::size_t>(i)];
    if (slot.treatment.weight_decay != 0) slope = slope.add(slot.parameter, slot.treatment.weight_decay);
    masked(slot, [&] {
      slot.mean.mul_(momentum_).add_(slope);
      slot.parameter.sub_(slot.mean, rates.learning_rate * slot.treatment.learning_rate_factor);
    });
  });
}

}  // namespace trireme::worker::optim
