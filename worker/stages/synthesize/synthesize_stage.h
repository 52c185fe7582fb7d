// synthesize (map): shard `first` of `count` of a synthetic source (Task::settings = SyntheticSpec). Writes
// `<output>.tar` (img2dataset's shape: <9 digits>.jpg, .txt with one caption per line, .json; read with
// format "clip_benchmark") and `<output>.truth.jsonl` (output "truth": what each sample really is,
// sample_plan.h). Every sample is a pure function of (spec, id). Counts: "in" and "noise.<kind>".
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::synthesize {

class SynthesizeStage : public runtime::StageOf<jobs::TaskKind::kSynthesize, jobs::SyntheticSpec> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::synthesize
