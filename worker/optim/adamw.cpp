#include "worker/optim/adamw.h"

#include <ATen/ATen.h>

#include <map>

#include "common/base/error.h"

namespace trireme::worker::optim {

AdamW::AdamW(NamedTensors parameters, AdamWOptions options) : options_(options) {
  for (auto& [name, parameter] : parameters)
    slots_.push_back({name, parameter.detach(), at::zeros_like(parameter.detach()),
                      at::zeros_like(parameter.detach()), parameter.dim() >= 2 ? options.weight_decay : 0.0});
}

void AdamW::step(const std::vector<at::Tensor>& gradients, double learning_rate, const ForEach& for_each) {
  ++updates_;
  for_each(static_cast<std::int64_t>(slots_.size()), [&](std::int64_t i) {
    const at::NoGradGuard no_grad;
    const auto& slot = slots_[static_cast<std::size_t>(i)];
    const auto count =
        at::full({}, static_cast<double>(updates_), slot.parameter.options().dtype(at::kFloat));
    at::_fused_adamw_({slot.parameter}, {gradients[static_cast<std::size_t>(i)]}, {slot.mean}, {slot.square},
                      {}, {count}, learning_rate, options_.beta1, options_.beta2, slot.weight_decay,
                      options_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  });
}

std::int64_t AdamW::updates() const {
  return updates_;
}

NamedTensors AdamW::state() const {
  NamedTensors all;
  for (const auto& slot : slots_) {
    all.emplace_back("exp_avg." + slot.name, slot.mean);
    all.emplace_back("exp_avg_sq." + slot.name, slot.square);
  }
  all.emplace_back("updates", at::full({1}, updates_, at::kLong));
  return all;
}

void AdamW::load_state(const NamedTensors& state) {
  const std::map<std::string, at::Tensor> given(state.begin(), state.end());
  std::string faults;
  for (auto& [name, tensor] : this->state()) {
    const auto found = given.find(name);
    if (found == given.end())
      faults += " " + name + " is missing;";
    else if (found->second.sizes() != tensor.sizes())
      faults += " " + name + " has another shape;";
    else
      tensor.copy_(found->second);
  }
  if (!faults.empty()) throw Error(ErrorKind::kDamaged, "optimizer state does not fit the model:" + faults);
  updates_ = given.at("updates").item<std::int64_t>();
}

}  // namespace trireme::worker::optim
