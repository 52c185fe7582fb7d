#include "worker/stages/train/step/mean_losses.h"

#include <ATen/ATen.h>

#include "worker/collective/slot_tree.h"
#include "worker/kernels/sent.h"

namespace trireme::worker::stages::train {
namespace {

// Rows with a target, per head.
at::Tensor counts_of(const SlotInput& input) {
  at::Tensor counts = at::zeros({static_cast<std::int64_t>(input.targets.size())}, at::kDouble);
  for (std::size_t h = 0; h < input.targets.size(); ++h)
    counts[static_cast<std::int64_t>(h)] =
        input.targets[h].weight_Bk.cpu().sum(1).gt(0).sum().item<std::int64_t>();
  return counts;
}

}  // namespace

MeanLosses mean_losses(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                       std::int64_t slots, const std::vector<double>& weights, collective::Group& group) {
  MeanLosses result;
  if (weights.empty()) return result;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> rows;  // per slot: sums, then counts, then live rows
  for (std::size_t i = 0; i < own.size(); ++i)
    rows.push_back(at::cat({outputs[i].sum_H.detach().cpu().to(at::kDouble),
                            outputs[i].count_H.defined() ? outputs[i].count_H : counts_of(own[i]),
                            own[i].live_B.sum().to(at::kDouble).view({1})}));
  const at::Tensor all = group.all_gather(at::stack(rows));
  const at::Tensor total = collective::tree_sum_rows(all.view({slots, -1})).view({-1});
  const auto heads = static_cast<std::int64_t>(weights.size());
  result.live = total[2 * heads].item<std::int64_t>();
  for (std::int64_t h = 0; h < heads; ++h) {
    const auto count = total[heads + h].item<double>();
    const double weight = weights[static_cast<std::size_t>(h)];
    result.mean.push_back(count > 0 ? total[h].item<double>() / count : 0);
    result.factor.push_back(count > 0 ? weight / count : 0);
    result.weighted += weight * result.mean.back();
  }
  return result;
}

MeansThere mean_losses_there(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                             const std::vector<double>& weights, collective::Group& group) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> rows;  // per slot: sums, then counts
  for (std::size_t i = 0; i < own.size(); ++i) {
    std::vector<at::Tensor> counts;
    for (const auto& head : own[i].targets) counts.push_back(head.weight_Bk.sum(1).gt(0).sum());
    rows.push_back(at::cat({outputs[i].sum_H.detach().to(at::kDouble), at::stack(counts).to(at::kDouble)}));
  }
  const at::Tensor total = collective::tree_sum_rows(group.all_gather(at::stack(rows)));
  const auto heads = static_cast<std::int64_t>(weights.size());
  const at::Tensor sums = total.narrow(0, 0, heads), counts = total.narrow(0, heads, heads);
  const at::Tensor weight = kernels::sent_to(at::tensor(weights, at::kDouble), total.device());
  const at::Tensor none = counts.le(0), whole = counts.clamp_min(1);
  MeansThere means{(sums / whole).masked_fill(none, 0), (weight / whole).masked_fill(none, 0), {}};
  means.weighted = (weight * means.mean_H).sum();
  return means;
}

namespace {

// What is counted is counted on the host, so that only the sums stay on the device.
StepLoss one_mean_there(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                        const LossContext& context) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> counts, sums;
  for (std::size_t i = 0; i < own.size(); ++i) {
    counts.push_back(at::cat({outputs[i].count_H, own[i].live_B.sum().to(at::kDouble).view({1})}));
    sums.push_back(outputs[i].sum_H.detach().to(at::kDouble));
  }
  const at::Tensor counted = context.group.all_gather(at::stack(counts)).sum(0);
  const auto count = counted[0].item<double>();
  StepLoss result;
  result.live = counted[1].item<std::int64_t>();
  result.too_few = count == 0;
  if (result.too_few) return result;
  const at::Tensor all_L1 = context.group.all_gather(at::stack(sums));
  result.there.values = collective::tree_sum_rows(all_L1.view({context.slots, -1})).view({-1}) / count;
  result.there.read = [](const double* values, StepLoss& loss) { loss.parts = {values[0]}; };
  result.sum_slopes_H = at::full({1}, 1 / count, all_L1.options());
  result.slopes.resize(own.size());
  return result;
}

}  // namespace

StepLoss one_mean_loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                       const LossContext& context) {
  if (context.later) return one_mean_there(own, outputs, context);
  const auto means = mean_losses(own, outputs, context.slots, {1}, context.group);
  StepLoss result;
  result.value = means.weighted;
  result.parts = means.mean;
  result.live = means.live;
  result.too_few = means.factor[0] == 0;
  result.sum_slopes_H = at::tensor(means.factor, at::kDouble);
  result.slopes.resize(own.size());
  return result;
}

}  // namespace trireme::worker::stages::train
