// inspect (map): scans one shard once and writes its index (worker/data/shards/INDEX.md) at `<output>.idx`.
// Counts: "in" (usable samples) and "bad.<reason>" (worker/data/shards/shard_reader.h); summary:
// ShardSummary. A shard whose sha256 is known and differs is kDamaged: "changed".
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::inspect {

class InspectStage : public runtime::StageOf<jobs::TaskKind::kInspect, jobs::NoSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::inspect
