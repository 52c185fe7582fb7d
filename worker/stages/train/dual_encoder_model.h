// The dual encoder as the training step sees it: towers that are not frozen run on images and tokens, frozen
// ones on stored features or without a graph.
#pragma once

#include "worker/models/dual_encoder.h"
#include "worker/stages/train/trainable_model.h"

namespace trireme::worker::stages::train {

class DualEncoderModel final : public TrainableModel {
 public:
  explicit DualEncoderModel(models::DualEncoder& encoder) : encoder_(encoder) {}  // must outlive this object
  SlotOutput embed(const SlotInput& input) override;
  NamedTensors parameters() override { return encoder_.trainable_parameters(); }
  at::Tensor logit_scale() override { return encoder_.logit_scale(); }
  double logit_scale_max() const override { return encoder_.spec().logit_scale_max; }

 private:
  models::DualEncoder& encoder_;
};

}  // namespace trireme::worker::stages::train
