#include "worker/optim/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

namespace trireme::worker::optim {
namespace {
constexpr std::int64_t kPortion =
    131072;  // elements: some ten microseconds of a CPU's work; a GPU takes all at once
}

AdamW::AdamW(const NamedTensors& parameters, double beta2, double epsilon, const GroupOptions& groups)
    : Optimizer(parameters, groups), beta2_(beta2), epsilon_(epsilon) {
  std::vector<std::size_t> order(slots_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
    return slots_[a].parameter.numel() > slots_[b].parameter.numel();
  });
  std::map<Treatment, std::int64_t> room;  // of the last portion of each treatment
  std::map<Treatment, std::size_t> last;
  for (const auto index : order) {
    const auto& slot = slots_[index];
    if (last.count(slot.treatment) == 0 ||
        (slot.parameter.is_cpu() && room[slot.treatment] < slot.parameter.numel())) {
      last[slot.treatment] = portions_.size();
      portions_.emplace_back();
      room[slot.treatment] = kPortion;
    }
    portions_[last[slot.treatment]].push_back(index);
    room[slot.treatment] -= slot.parameter.numel();
  }
}

// A step that is decided on the device counts there, and is left out by the operation itself.
void AdamW::update(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each) {
  for_each(static_cast<std::int64_t>(portions_.size()), [&](std::int64_t i) {
    const at::NoGradGuard no_grad;
    const auto& portion = portions_[static_cast<std::size_t>(i)];
    const auto& first = slots_[portion.front()];
    if (updates_ <= first.treatment.late_updates) return;
    const auto late = static_cast<double>(first.treatment.late_updates);
    const at::Tensor count = waits() ? (count_ - late).to(at::kFloat)
                                     : at::full({}, static_cast<double>(updates_) - late,
                                                first.parameter.options().dtype(at::kFloat));
    const std::optional<at::Tensor> left_out =
        waits() ? std::optional<at::Tensor>(1 - (taken_ * count_.gt(late)).to(at::kFloat)) : std::nullopt;
    std::vector<at::Tensor> weights, slopes, means, squares;
    for (const auto index : portion) {
      weights.push_back(slots_[index].parameter);
      slopes.push_back(gradients[index]);
      means.push_back(slots_[index].mean);
      squares.push_back(slots_[index].square);
    }
    const std::vector<at::Tensor> counts(portion.size(), count);
    at::_fused_adamw_(weights, slopes, means, squares, {}, counts,
                      rates.learning_rate * first.treatment.learning_rate_factor, rates.beta1, beta2_,
                      first.treatment.weight_decay, epsilon_, /*amsgrad=*/false, /*maximize=*/false,
                      /*grad_scale=*/{}, left_out);
  });
}

}  // namespace trireme::worker::optim
