// cuts: where the top_fraction of a column falls, over all samples of a filter stage: of n numbers the one of
// rank max(1, ceil(fraction n)) from above; equal numbers are kept with it (DataComp, FORMATS 3). Reads every
// `.facts.jsonl` of its inputs; 8 bytes of memory per sample and rule. Output `.cuts.json`. Counts: numbers.
#pragma once

#include <map>

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::filter {

class CutsStage : public runtime::StageOf<jobs::TaskKind::kCuts, jobs::FilterSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Position of a rule in FilterSettings::columns -> least number that stays. Throws kDamaged naming the file.
std::map<std::size_t, double> read_cuts(const std::string& path);

}  // namespace trireme::worker::stages::filter
