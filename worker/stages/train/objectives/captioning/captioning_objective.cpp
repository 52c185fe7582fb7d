#include "worker/stages/train/objectives/captioning/captioning_objective.h"

#include <ATen/ATen.h>

#include "worker/data/batches/device_images.h"

namespace trireme::worker::stages::train {

CaptioningObjective::CaptioningObjective(const ObjectiveSetup& setup)
    : setup_(setup),
      texts_(text_choice(setup.data, setup.settings)),
      model_(setup.encoder, setup.settings.loss.label_smoothing),
      captioner_(setup.encoder) {
  if (setup.evaluated != nullptr)
    evaluator_.emplace(*setup.evaluated, setup.encoder, setup.group, setup.pool, setup.device);
}

SlotInput CaptioningObjective::input(data::SlotBatch& batch, std::int64_t step, std::int64_t slot,
                                     std::map<std::string, std::int64_t>& /*counts*/) const {
  SlotInput input;
  input.seed = static_cast<std::uint64_t>(setup_.settings.seed);
  input.step = step;
  input.slot = slot;
  const auto preprocess = setup_.encoder.image_preprocess();
  input.image_BCHW = data::images_on(batch, {preprocess.mean, preprocess.std}, at::Device(setup_.device));
  const auto& words = texts_.raw ? batch.captions : batch.synthetic_captions;
  input.tokens_BL = captioner_.tokenize(words).tokens_NL;
  input.live_B = at::tensor(at::ArrayRef<std::uint8_t>(batch.live), at::kByte);
  return input;
}

}  // namespace trireme::worker::stages::train
