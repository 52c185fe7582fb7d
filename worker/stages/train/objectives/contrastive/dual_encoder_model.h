// The dual encoder as the training step sees it: towers that are not frozen run on images and tokens, frozen
// ones on stored features or without a graph. Beside the encoder's own parameters it holds what only training
// needs: ALIGN's sigma in the place of logit_scale, SigLIP's bias, DiHT's concept heads.
#pragma once

#include <optional>
#include <vector>

#include "worker/models/dual_encoder.h"
#include "worker/models/towers/concept_heads.h"
#include "worker/stages/train/objectives/contrastive/pair_learner.h"

namespace trireme::worker::stages::train {

struct DualEncoderOptions {
  PairLossOptions loss;
  std::optional<double> initial_temperature;  // tau; default: the model's logit_scale, for sigma 1
  std::optional<double> sigmoid_bias;         // at the start; absent: none
  std::vector<models::ConceptHeadShape> heads;
  bool heads_on_embedding = false;  // else on the image tower's output
  std::uint64_t seed = 0;
  std::string device = "cpu";
};

class DualEncoderModel final : public PairLearner {
 public:
  DualEncoderModel(models::DualEncoder& encoder,
                   const DualEncoderOptions& options);  // must outlive this object
  SlotOutput forward(const SlotInput& input) override;
  bool repeats() const override;
  SlotInput padded(const SlotInput& input) const override;
  NamedTensors parameters() override;
  at::Tensor temperature() override { return temperature_; }
  at::Tensor sigmoid_bias() override { return bias_; }
  void updated() override;  // the encoder's logit_scale follows sigma
  std::int64_t statistics_numbers() const override {
    return encoder_.norm_channels() == 0 ? 0 : 2 * encoder_.norm_channels() + 1;
  }
  void absorb_statistics(const at::Tensor& sum) override { encoder_.absorb_norm_statistics(sum); }

  const models::ConceptHeads& heads() const { return heads_; }

  // What the encoder's own state does not hold: "sigma", "sigmoid_bias", "concepts.…", then the gates'.
  NamedTensors state() const override;
  // Copies; kDamaged lists missing names and wrong shapes.
  void load_state(const NamedTensors& state) override;

 private:
  at::Tensor head_losses(const at::Tensor& features_BT, const std::vector<SoftTargets>& targets) const;

  NamedTensors own_state() const;

  models::DualEncoder& encoder_;
  at::Tensor temperature_, bias_;
  models::ConceptHeads heads_;
  bool heads_on_embedding_;
};

}  // namespace trireme::worker::stages::train
