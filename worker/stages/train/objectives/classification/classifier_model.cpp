#include "worker/stages/train/objectives/classification/classifier_model.h"

#include <ATen/ATen.h>

#include <optional>

#include "common/base/error.h"
#include "common/base/random.h"
#include "worker/kernels/sent.h"
#include "worker/losses/soft_target_loss.h"
#include "worker/optim/optimizer.h"
#include "worker/stages/train/step/mean_losses.h"

namespace trireme::worker::stages::train {
namespace {

constexpr double kHeadDeviation = 0.01;

at::Tensor drawn_head(std::int64_t classes, std::int64_t width, std::uint64_t seed) {
  at::Tensor weight = at::empty({classes, width}, at::kFloat);
  RandomStream stream(seed, RandomPurpose::kInitialWeights, name_key("head.weight"));
  float* const numbers = weight.data_ptr<float>();
  for (std::int64_t i = 0; i < weight.numel(); ++i)
    numbers[i] = static_cast<float>(kHeadDeviation * stream.normal());
  return weight;
}

}  // namespace

at::Tensor classification_loss(const at::Tensor& logits_BC, const SoftTargets& targets, bool multi_label,
                               double label_smoothing) {
  if (multi_label) {
    const at::Tensor picked = (logits_BC.gather(1, targets.index_Bk) * targets.weight_Bk).sum(1);
    return (at::softplus(logits_BC).sum(1) - picked).sum() / static_cast<double>(logits_BC.size(1));
  }
  const at::Tensor hard = losses::soft_target_loss(logits_BC, targets.index_Bk, targets.weight_Bk).sum();
  if (label_smoothing == 0) return hard;
  const at::Tensor even = -at::log_softmax(logits_BC, 1).mean(1).sum();
  return hard * (1 - label_smoothing) + even * label_smoothing;
}

ClassifierModel::ClassifierModel(models::DualEncoder& encoder, const ClassifierOptions& options,
                                 const at::Tensor& start_CT, const at::Tensor& bias_C)
    : encoder_(encoder), options_(options) {
  const auto width = options.on_embedding ? encoder.spec().embed_dim : encoder.image_tower_width();
  const at::Tensor start = start_CT.defined() ? start_CT : drawn_head(options.classes, width, options.seed);
  const at::Tensor bias = bias_C.defined() ? bias_C : at::zeros({options.classes}, at::kFloat);
  if (start.sizes() != at::IntArrayRef({options.classes, width}) || bias.numel() != options.classes)
    throw Error(ErrorKind::kInvalid,
                "the head's start has " + std::to_string(start.size(0)) + " classes of width " +
                    std::to_string(start.size(1)) + ", the training data " + std::to_string(options.classes) +
                    " and the features " + std::to_string(width),
                "the probe learns the classes of the same list");
  const at::Device device(options.device);
  head_.emplace_back("head.weight", start.to(device, at::kFloat, false, true).set_requires_grad(true));
  head_.emplace_back("head.bias", bias.to(device, at::kFloat, false, true).set_requires_grad(true));
}

NamedTensors ClassifierModel::parameters() {
  NamedTensors named;
  for (auto& one : encoder_.trainable_parameters()) {
    const bool projection = one.first == "visual.proj" || one.first.starts_with("visual.projection.");
    if (one.first.starts_with("visual.") && (options_.on_embedding || !projection))
      named.push_back(std::move(one));
  }
  named.insert(named.end(), head_.begin(), head_.end());
  return named;
}

void ClassifierModel::load_state(const NamedTensors& state) {
  NamedTensors own;
  for (const auto& [name, tensor] : head_) own.emplace_back(name, tensor.detach());
  optim::copy_state(own, state, "checkpoint does not fit the classifier:");
}

at::Tensor ClassifierModel::features(const at::Tensor& image_BCHW) const {
  const at::NoGradGuard no_grad;
  const at::Tensor tower = encoder_.image_features(image_BCHW);
  return options_.on_embedding ? encoder_.project_image(tower) : tower;
}

// Rows that are not live are left out: they have no label, and would count in batch norms.
SlotOutput ClassifierModel::forward(const SlotInput& input) {
  SlotOutput output;
  const bool frozen = encoder_.spec().image.frozen || input.step < options_.head_steps;
  std::optional<nn::BatchStatistics> statistics;
  nn::ForwardContext context{!frozen, input.seed, input.step, input.slot, input.first_row, nullptr};
  const at::Device device = input.image_BCHW.device();
  if (encoder_.norm_channels() > 0) context.statistics = &statistics.emplace(encoder_.norm_channels());
  const at::Tensor rows = kernels::sent_to(input.live_B.nonzero().squeeze(1), device);
  output.count_H = at::full({1}, static_cast<double>(rows.numel()), at::kDouble);
  if (rows.numel() == 0) {
    output.sum_H = head_.front().second.sum().mul(0).view({1});
  } else {
    const at::Tensor features = [&] {
      const at::AutoGradMode grad(!frozen && at::GradMode::is_enabled());
      const at::Tensor tower = encoder_.image_features(input.image_BCHW.index_select(0, rows), context);
      return options_.on_embedding ? encoder_.project_image(tower) : tower;
    }();
    const at::Tensor logits = at::linear(features.to(at::kFloat), head_[0].second, head_[1].second);
    const SoftTargets targets{input.targets[0].index_Bk.index_select(0, rows),
                              input.targets[0].weight_Bk.index_select(0, rows)};
    output.sum_H =
        classification_loss(logits, targets, options_.multi_label, options_.label_smoothing).view({1});
  }
  if (statistics) output.statistics = statistics->numbers();
  return output;
}

StepLoss ClassifierModel::loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                               const LossContext& context) {
  return one_mean_loss(own, outputs, context);
}

}  // namespace trireme::worker::stages::train
