#include "worker/stages/train/objectives/captioning/captioner_model.h"

#include <algorithm>
#include <optional>

#include <ATen/ATen.h>

#include "worker/kernels/sent.h"
#include "worker/stages/train/step/mean_losses.h"

namespace trireme::worker::stages::train {

losses::CaptionLoss teacher_forced(const models::Captioner& captioner, const at::Tensor& tokens_BL,
                                   const at::Tensor& image_BST, double smoothing) {
  const at::Tensor logits_BLV =
      captioner.decoder().forward(kernels::sent_to(tokens_BL, image_BST.device()), image_BST);
  const auto given = static_cast<std::int64_t>(captioner.start().size());
  at::Tensor learnt_BL = tokens_BL.clone();
  learnt_BL.narrow(1, 0, std::min(given, learnt_BL.size(1))).fill_(captioner.pad_id());
  return losses::caption_loss(logits_BLV, learnt_BL, captioner.pad_id(), smoothing);
}

CaptionerModel::CaptionerModel(models::DualEncoder& model, double label_smoothing)
    : model_(model), captioner_(model), smoothing_(label_smoothing) {}

// Rows that are not live are left out: they have no tokens to learn, and would count in batch norms.
SlotOutput CaptionerModel::forward(const SlotInput& input) {
  SlotOutput output;
  std::optional<nn::BatchStatistics> statistics;
  nn::ForwardContext context{true, input.seed, input.step, input.slot, input.first_row, nullptr};
  const at::Device device = input.image_BCHW.device();
  if (model_.norm_channels() > 0) context.statistics = &statistics.emplace(model_.norm_channels());
  const at::Tensor rows = input.live_B.nonzero().squeeze(1);
  if (rows.numel() == 0) {
    output.sum_H = model_.trainable_parameters().front().second.sum().mul(0).view({1});
    output.count_H = at::zeros({1}, at::kDouble);
  } else {
    const bool all = rows.numel() == input.live_B.size(0);
    const at::Tensor image =
        all ? input.image_BCHW : input.image_BCHW.index_select(0, kernels::sent_to(rows, device));
    const at::Tensor tokens = all ? input.tokens_BL : input.tokens_BL.index_select(0, rows);
    const auto loss = teacher_forced(captioner_, tokens, model_.image_tokens(image, context), smoothing_);
    output.sum_H = loss.sum.to(at::kFloat).view({1});
    output.count_H = at::full({1}, static_cast<double>(loss.count), at::kDouble);
  }
  if (statistics) output.statistics = statistics->numbers();
  return output;
}

StepLoss CaptionerModel::loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                              const LossContext& context) {
  return one_mean_loss(own, outputs, context);
}

}  // namespace trireme::worker::stages::train
