#include "worker/stages/train/objectives/captioning/captioning_objective.h"
#include "worker/stages/train/objectives/contrastive/contrastive_objective.h"
#include "worker/stages/train/objectives/objective.h"

namespace trireme::worker::stages::train {

std::unique_ptr<Objective> make_objective(const ObjectiveSetup& setup) {
  if (setup.settings.objective == jobs::TrainObjective::kCaptioning)
    return std::make_unique<CaptioningObjective>(setup);
  return std::make_unique<ContrastiveObjective>(setup);
}

}  // namespace trireme::worker::stages::train
