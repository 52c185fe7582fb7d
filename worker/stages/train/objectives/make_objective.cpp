#include "worker/stages/train/objectives/captioning/captioning_objective.h"
#include "worker/stages/train/objectives/classification/classification_objective.h"
#include "worker/stages/train/objectives/contrastive/contrastive_objective.h"
#include "worker/stages/train/objectives/objective.h"

namespace trireme::worker::stages::train {

std::unique_ptr<Objective> make_objective(const ObjectiveSetup& setup) {
  switch (setup.settings.objective) {
    case jobs::TrainObjective::kCaptioning:
      return std::make_unique<CaptioningObjective>(setup);
    case jobs::TrainObjective::kClassification:
      return std::make_unique<ClassificationObjective>(setup);
    case jobs::TrainObjective::kContrastive:
      break;
  }
  return std::make_unique<ContrastiveObjective>(setup);
}

}  // namespace trireme::worker::stages::train
