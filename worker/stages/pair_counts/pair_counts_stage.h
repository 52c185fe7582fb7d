// pair_counts: the tally behind ALIGN's counted rules. A map task writes the distinct (text, image) pairs of
// a range by hash partition; a merge task adds one partition of all ranges up. Counts are exact and the bytes
// of the artifacts the same for any number of workers and any split into ranges.
//
// Two captions are the same text when text::normalized_text() of both is (NFC, white space collapsed, lower
// case); two images are the same when their encoded bytes are. Hashes are xxh3-128: the chance of one false
// match among 10^9 texts is about 10^-21. All samples count, decodable or not, as ALIGN counts over the raw
// set; samples without text have no pairs.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::pair_counts {

// Output `.pairs`. Counts: in, captions, pairs (distinct within the range).
class PairCountsMapStage : public runtime::StageOf<jobs::TaskKind::kPairCountsMap, jobs::PairCountsSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Partition task.part() of task.parts(); reads every input of role "pairs".
// Output `.counts`. Counts: texts, images (distinct in this partition), texts_shared, images_shared
// (with 2 others or more).
class PairCountsMergeStage
    : public runtime::StageOf<jobs::TaskKind::kPairCountsMerge, jobs::PairCountsSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::pair_counts
