#include "worker/optim/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "common/base/error.h"

namespace trireme::worker::optim {
namespace {
constexpr std::int64_t kPortion = 131072;  // elements: some ten microseconds of work
}

AdamW::AdamW(NamedTensors parameters, AdamWOptions options) : options_(options) {
  for (auto& [name, parameter] : parameters)
    slots_.push_back({name, parameter.detach(), at::zeros_like(parameter.detach()),
                      at::zeros_like(parameter.detach()), parameter.dim() >= 2 ? options.weight_decay : 0.0});
  std::vector<std::size_t> order(slots_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
    return slots_[a].parameter.numel() > slots_[b].parameter.numel();
  });
  std::map<double, std::int64_t> room;  // per decay: of its last portion
  std::map<double, std::size_t> last;
  for (const auto index : order) {
    const auto& slot = slots_[index];
    if (room[slot.weight_decay] < slot.parameter.numel()) {
      last[slot.weight_decay] = portions_.size();
      portions_.emplace_back();
      room[slot.weight_decay] = kPortion;
    }
    portions_[last[slot.weight_decay]].push_back(index);
    room[slot.weight_decay] -= slot.parameter.numel();
  }
}

void AdamW::step(const std::vector<at::Tensor>& gradients, double learning_rate, const ForEach& for_each) {
  ++updates_;
  for_each(static_cast<std::int64_t>(portions_.size()), [&](std::int64_t i) {
    const at::NoGradGuard no_grad;
    const auto& portion = portions_[static_cast<std::size_t>(i)];
    const auto& first = slots_[portion.front()];
    const auto count =
        at::full({}, static_cast<double>(updates_), first.parameter.options().dtype(at::kFloat));
    std::vector<at::Tensor> weights, slopes, means, squares;
    for (const auto index : portion) {
      weights.push_back(slots_[index].parameter);
      slopes.push_back(gradients[index]);
      means.push_back(slots_[index].mean);
      squares.push_back(slots_[index].square);
    }
    const std::vector<at::Tensor> counts(portion.size(), count);
    at::_fused_adamw_(weights, slopes, means, squares, {}, counts, learning_rate, options_.beta1,
                      options_.beta2, first.weight_decay, options_.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false);
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
