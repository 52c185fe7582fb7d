#include "worker/optim/optimizer.h"

#include <ATen/ATen.h>

#include <map>

#include "common/base/error.h"
#include "worker/optim/adamw.h"
#include "worker/optim/lamb.h"
#include "worker/optim/sgd.h"

namespace trireme::worker::optim {

Optimizer::Optimizer(const NamedTensors& parameters, const GroupOptions& groups) {
  const auto treated = treatments(parameters, groups);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto plain = parameters[i].second.detach();
    slots_.push_back({parameters[i].first, plain, at::zeros_like(plain), at::zeros_like(plain), treated[i]});
  }
}

void Optimizer::step(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each,
                     const at::Tensor& taken) {
  if (taken.defined() && !count_.defined())
    count_ = at::full({}, static_cast<double>(updates_), taken.options());
  if (!taken.defined()) count_ = at::Tensor();
  ++updates_;
  taken_ = taken;
  if (taken.defined()) count_ = count_ + taken;
  update(gradients, rates, for_each);
}

void Optimizer::masked(Slot& slot, const std::function<void()>& body) const {
  if (!waits()) return body();
  const at::Tensor keep =
      taken_.gt(0).logical_and(count_.gt(static_cast<double>(slot.treatment.late_updates)));
  std::vector<std::pair<at::Tensor, at::Tensor>> before;
  for (const auto& tensor : {slot.parameter, slot.mean, slot.square})
    before.emplace_back(tensor, tensor.clone());
  body();
  for (const auto& [tensor, old] : before) tensor.copy_(at::where(keep, tensor, old));
}

NamedTensors Optimizer::state() const {
  NamedTensors all;
  for (const auto& slot : slots_) {
    all.emplace_back("exp_avg." + slot.name, slot.mean);
    all.emplace_back("exp_avg_sq." + slot.name, slot.square);
  }
  all.emplace_back("updates", at::full({1}, updates_, at::kLong));
  return all;
}

void Optimizer::load_state(const NamedTensors& state) {
  at::Tensor updates = at::zeros({1}, at::kLong);
  NamedTensors into = this->state();
  into.back().second = updates;
  copy_state(into, state, "optimizer state does not fit the model:");
  updates_ = updates.item<std::int64_t>();
  count_ = at::Tensor();
}

void copy_state(const NamedTensors& into, const NamedTensors& from, const std::string& what) {
  const at::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> given(from.begin(), from.end());
  std::string faults;
  for (const auto& [name, tensor] : into) {
    const auto found = given.find(name);
    if (found == given.end())
      faults += " " + name + " is missing;";
    else if (found->second.sizes() != tensor.sizes())
      faults += " " + name + " has another shape;";
  }
  if (!faults.empty()) throw Error(ErrorKind::kDamaged, what + faults);
  for (const auto& [name, tensor] : into) tensor.copy_(given.at(name));
}

std::unique_ptr<Optimizer> make_optimizer(const NamedTensors& parameters, const OptimizerOptions& options) {
  if (options.momentum) return std::make_unique<Sgd>(parameters, *options.momentum, options.groups);
  if (options.lamb) return std::make_unique<Lamb>(parameters, options.beta2, options.epsilon, options.groups);
  return std::make_unique<AdamW>(parameters, options.beta2, options.epsilon, options.groups);
}

}  // namespace trireme::worker::optim
