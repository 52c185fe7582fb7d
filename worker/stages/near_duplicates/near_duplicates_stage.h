// near_duplicates: which samples are nearly the same, for the filter's `near_unique` and `against` (ALIGN
// rule 3, METHODS 3.1): images by perceptual hash (worker/data/tallies/near_duplicates.h) or embedding
// (near_embeddings.h), texts by their words (worker/data/tallies/near_captions.h). Signatures of every range
// (embeddings come from the embed stage's tasks, and of many lists are made), pairs per partition, clusters.
// Images that do not decode and samples without words are in no cluster.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::near_duplicates {

// By hash and by caption. Output `.signatures`. Decodes at a small scale on TaskContext::threads threads.
// Counts: in, hashed.
class SignaturesStage : public runtime::StageOf<jobs::TaskKind::kSignatures, jobs::NearDuplicatesSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

inline constexpr std::int64_t kListsFromImages = 50000;  // below, every pair costs less than a minute

// By embedding. Output `.near_lists.safetensors` (near_lists.h). Counts, of lists: held_back_pairs and
// lists_looked_at.
class NearListsStage : public runtime::StageOf<jobs::TaskKind::kNearLists, jobs::NearDuplicatesSettings> {
 public:
  explicit NearListsStage(std::int64_t lists_from = kListsFromImages) : lists_from_(lists_from) {}

 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  const std::int64_t lists_from_;
};

// Partition task.part() of task.parts(); reads every input of role "signatures" or "features", in
// order. Output
// `.near_pairs`. Counts: pairs (a pair counts in each partition that finds it).
class NearPairsStage : public runtime::StageOf<jobs::TaskKind::kNearPairs, jobs::NearDuplicatesSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Reads the same and every `.near_pairs`. Output `.near_clusters.jsonl`. Counts: samples, clusters, copies.
class NearClustersStage
    : public runtime::StageOf<jobs::TaskKind::kNearClusters, jobs::NearDuplicatesSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::near_duplicates
