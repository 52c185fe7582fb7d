#include "worker/stages/train/train_stage.h"

#include "worker/collective/local/local_group.h"
#include "worker/stages/train/run/train_run.h"

namespace trireme::worker::stages::train {

jobs::TaskDone TrainStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  if (context.group != nullptr) return TrainRun(task, context, *context.group).run();
  const auto alone = collective::make_local_groups(1);
  return TrainRun(task, context, *alone.front()).run();
}

}  // namespace trireme::worker::stages::train
