// duplicates: which samples are equal in image, text or both (worker/data/tallies/duplicates.h), for the
// filter's `unique`. A test set that is listed before the training set keeps its samples, so that the filter
// of the training set drops their copies (ALIGN rule 3, METHODS 3.1, for exact copies).
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::duplicates {

// Output `.hashes`. Counts: in.
class DuplicatesMapStage : public runtime::StageOf<jobs::TaskKind::kDuplicatesMap, jobs::DuplicatesSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Partition task.part() of task.parts(); reads every input of role "hashes", in order. Output
// `.duplicates`. Counts: groups.<family>, copies.<family>.
class DuplicatesMergeStage
    : public runtime::StageOf<jobs::TaskKind::kDuplicatesMerge, jobs::DuplicatesSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::duplicates
