// A captioner as the training step sees it: the mean over the global batch's tokens of the cross entropy of
// each next token, teacher-forced (worker/losses/caption_loss.h). The prompt is given and not learnt.
#pragma once

#include "worker/losses/caption_loss.h"
#include "worker/models/captioner/captioner.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

// The cross entropy of the tokens behind start mark and prompt, given the image tokens [B, S, T]. Tokens on
// the CPU: what is read of them is read there, so that nobody waits for a device.
losses::CaptionLoss teacher_forced(const models::Captioner& captioner, const at::Tensor& tokens_BL,
                                   const at::Tensor& image_BST, double smoothing);

class CaptionerModel final : public Learner {
 public:
  // `model` has a decoder (kInvalid) and must outlive this object.
  CaptionerModel(models::DualEncoder& model, double label_smoothing);

  SlotOutput forward(const SlotInput& input) override;  // one sum, and the number of tokens
  StepLoss loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                const LossContext& context) override;
  NamedTensors parameters() override { return model_.trainable_parameters(); }
  std::int64_t statistics_numbers() const override {
    return model_.norm_channels() == 0 ? 0 : 2 * model_.norm_channels() + 1;
  }
  void absorb_statistics(const at::Tensor& sum) override { model_.absorb_norm_statistics(sum); }

 private:
  models::DualEncoder& model_;
  models::Captioner captioner_;
  double smoothing_;
};

}  // namespace trireme::worker::stages::train
