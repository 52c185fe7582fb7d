// inspect (map): scans one shard once and writes its index (worker/data/shards/INDEX.md) at `<output>.idx`.
// Counts: "in" (usable samples) and "bad.<reason>" (worker/data/shards/shard_reader.h); summary:
// ShardSummary. A shard whose sha256 is known and differs is kDamaged: "changed".
#pragma once

#include "worker/runtime/stage.h"

namespace trireme::worker::stages::inspect {

class InspectStage : public runtime::Stage {
 public:
  jobs::TaskDone run(const jobs::Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::inspect
