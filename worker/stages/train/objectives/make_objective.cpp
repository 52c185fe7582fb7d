#include "common/base/error.h"
#include "worker/stages/train/objectives/captioning/captioning_objective.h"
#include "worker/stages/train/objectives/contrastive/contrastive_objective.h"
#include "worker/stages/train/objectives/objective.h"

namespace trireme::worker::stages::train {

std::unique_ptr<Objective> make_objective(const ObjectiveSetup& setup) {
  const std::string& objective = setup.settings.objective;
  if (objective == "contrastive") return std::make_unique<ContrastiveObjective>(setup);
  if (objective == "captioning") return std::make_unique<CaptioningObjective>(setup);
  throw Error(ErrorKind::kInternal, "there is no objective '" + objective + "'");
}

}  // namespace trireme::worker::stages::train
