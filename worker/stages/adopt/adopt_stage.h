// adopt: a model of spec.models as the folder that a train stage would leave, so that whoever takes the one
// takes the other: published weights, a blend of two checkpoints, or weights that are drawn (seed 0).
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::adopt {

// Output: model.safetensors, config.json and the tokenizer's vocabulary. Count: parameters.
class AdoptStage : public runtime::StageOf<jobs::TaskKind::kAdopt, jobs::NoSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::adopt
