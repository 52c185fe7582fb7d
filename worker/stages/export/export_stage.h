// export: the kept samples of one shard as a tar in img2dataset's shape (FORMATS 2): <key>.<image suffix>,
// .json, .txt, in the order of the shard, images copied byte for byte. Inputs: role "shard_index", the
// verdicts of every range of the shard (none: everything is kept), and the facts and scores of stages before,
// whose numbers go into .json (measured_scores.h). Bytes depend on shard, these files and settings only.
// Output `.tar`, and `uids` = `.uids`: the sorted 16-byte ids of samples that have one (DataComp, FORMATS 3).
// Counts: exported, bytes, uids, no_uid; where there are scores: scored, no_score.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::export_shards {

class ExportStage : public runtime::StageOf<jobs::TaskKind::kExport, jobs::ExportSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::export_shards
