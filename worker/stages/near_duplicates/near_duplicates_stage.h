// near_duplicates: which images are nearly the same (worker/data/near_duplicates.h), for the filter's
// `near_unique` and `against` (ALIGN rule 3, METHODS 3.1; by perceptual hash instead of an embedding). Three
// steps: signatures of every range, pairs per partition of the keys, clusters. Images that do not decode are
// in no cluster.
#pragma once

#include "worker/runtime/stage.h"

namespace trireme::worker::stages::near_duplicates {

// Output `.signatures`. Decodes at a small scale on TaskContext::threads threads. Counts: in, hashed.
class SignaturesStage : public runtime::Stage {
 public:
  jobs::TaskDone run(const jobs::Task& task, runtime::TaskContext& context) override;
};

// Partition `first` of `count`; reads every `.signatures` input, in order. Output `.near_pairs`. Counts:
// pairs (a pair counts in each partition that finds it).
class NearPairsStage : public runtime::Stage {
 public:
  jobs::TaskDone run(const jobs::Task& task, runtime::TaskContext& context) override;
};

// Reads the same and every `.near_pairs`. Output `.near_clusters.jsonl`. Counts: images, clusters, copies.
class NearClustersStage : public runtime::Stage {
 public:
  jobs::TaskDone run(const jobs::Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::near_duplicates
