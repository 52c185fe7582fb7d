// segment: one range's part of an index: its embeddings and what is known of its samples
// (worker/search/segment.h). Made once, for whichever jobs index the range.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::index {

// Reads what an embed task left for the range; features of another space than "shared" make an empty segment.
// Columns are the members of the samples' JSON that hold a number, true or false, or a short string, at most
// 64 of them by their names; not those that say how a download went (status, error_message) nor what an item
// has anyway (key, caption, url). Output `.segment`. Counts: rows, no_direction (embeddings that are zero or
// not finite, left out). Deterministic bytes.
class SegmentStage : public runtime::StageOf<jobs::TaskKind::kSegment, jobs::IndexSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::index
