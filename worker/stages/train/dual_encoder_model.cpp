#include "worker/stages/train/dual_encoder_model.h"

#include <ATen/ATen.h>

namespace trireme::worker::stages::train {
namespace {

// A frozen tower's activations are not kept.
template <class Tower>
at::Tensor tower(bool frozen, Tower run) {
  const at::AutoGradMode grad(!frozen);
  return run();
}

}  // namespace

SlotOutput DualEncoderModel::embed(const SlotInput& input) {
  const auto& spec = encoder_.spec();
  const at::Tensor image =
      input.image_features_BT.defined()
          ? input.image_features_BT
          : tower(spec.image.frozen, [&] { return encoder_.image_features(input.image_BCHW); });
  const at::Tensor text =
      input.text_features_BT.defined()
          ? input.text_features_BT
          : tower(spec.text.frozen, [&] { return encoder_.text_features(input.tokens_BL); });
  return {encoder_.project_image(image), encoder_.project_text(text)};
}

}  // namespace trireme::worker::stages::train
