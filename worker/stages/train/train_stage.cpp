#include "worker/stages/train/train_stage.h"

#include "worker/collective/local/local_group.h"
#include "worker/stages/train/run/train_run.h"

namespace trireme::worker::stages::train {

jobs::TaskDone TrainStage::work(const Task& task, runtime::TaskContext& context) {
  if (context.group != nullptr) return TrainRun(task.message, task.settings, context, *context.group).run();
  const auto alone = collective::make_local_groups(1);
  return TrainRun(task.message, task.settings, context, *alone.front()).run();
}

}  // namespace trireme::worker::stages::train
