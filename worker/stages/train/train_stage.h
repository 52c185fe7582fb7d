// The train stage: contrastive training of a dual encoder over a gang (jobs::TrainSettings). Gang rank 0
// keeps log and checkpoints, reports, and writes the result; the others compute their slots. Training resumed
// from any checkpoint ends with the same bits as an undisturbed run of as many workers, and in canonical mode
// of any number that divides the slots.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::train {

class TrainStage : public runtime::StageOf<jobs::TaskKind::kTrain, jobs::TrainSettings> {
 public:
  // Without a group in the context it trains alone. Throws kCancelled when stopped (after a checkpoint when
  // one was asked for), kDamaged when the checkpoint belongs to other data, kInvalid when the gang does not
  // divide the slots or steps go on being not finite.
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::train
