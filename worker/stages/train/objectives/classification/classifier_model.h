// An image classifier as the training step sees it: a linear head on the image tower's output, or on the unit
// embedding of the shared space. Per row of C logits z and targets p (Legend: B rows, C classes):
//
//   single label   -sum_c ((1 - e) p_c + e/C) ln softmax(z)_c, e the label smoothing, sum_c p_c = 1
//   multi-label    mean over the classes of softplus(z_c) - p_c z_c (binary cross entropy), p_c 0 or 1
//
// and the mean over the live rows of the global batch. The text tower does not learn.
#pragma once

#include <cstdint>
#include <string>

#include "worker/models/dual_encoder.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

struct ClassifierOptions {
  std::int64_t classes = 0;
  bool on_embedding = false, multi_label = false;
  double label_smoothing = 0;
  std::int64_t head_steps = 0;  // steps in which the tower runs without a graph
  std::uint64_t seed = 0;
  std::string device = "cpu";
};

class ClassifierModel final : public Learner {
 public:
  // `encoder` must outlive this object. `start_CT`, `bias_C`: the head at the start; undefined: normal with
  // deviation 0.01, drawn from (seed, "head.weight"), and 0. Throws kInvalid where they do not fit.
  ClassifierModel(models::DualEncoder& encoder, const ClassifierOptions& options,
                  const at::Tensor& start_CT = {}, const at::Tensor& bias_C = {});

  SlotOutput forward(const SlotInput& input) override;  // one sum over the live rows, and their number
  StepLoss loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                const LossContext& context) override;
  NamedTensors parameters() override;  // the image tower's, then "head.weight" [C, T], "head.bias" [C]
  NamedTensors state() const override { return head_; }
  void load_state(const NamedTensors& state) override;
  std::int64_t statistics_numbers() const override {
    return encoder_.norm_channels() == 0 ? 0 : 2 * encoder_.norm_channels() + 1;
  }
  void absorb_statistics(const at::Tensor& sum) override { encoder_.absorb_norm_statistics(sum); }

  // What the head reads, [B, T], without a graph, in evaluation.
  at::Tensor features(const at::Tensor& image_BCHW) const;
  const NamedTensors& head() const { return head_; }

 private:
  models::DualEncoder& encoder_;
  ClassifierOptions options_;
  NamedTensors head_;  // shares memory with parameters()
};

// The sum of the losses above over rows: logits [B, C], targets as SoftTargets.
at::Tensor classification_loss(const at::Tensor& logits_BC, const SoftTargets& targets, bool multi_label,
                               double label_smoothing);

}  // namespace trireme::worker::stages::train
