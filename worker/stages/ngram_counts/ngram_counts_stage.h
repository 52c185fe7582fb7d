// ngram_counts: the tally behind ALIGN's rule 5 (METHODS 3.1). A map task counts the words (text::unigrams)
// and the pairs of neighbouring words of every caption of a range; a merge task adds one partition of all
// ranges up. Counts are over the raw set, exact, and the bytes of the artifacts the same for any number of
// workers, any split into ranges and any memory. Memory of a map task: NgramCountsSettings::memory_mib, then
// sorted runs on disk; of a merge: one cursor per range.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::ngram_counts {

// Output `.ngrams`. Counts: in, captions, ngrams (occurrences), spills.
class NgramsMapStage : public runtime::StageOf<jobs::TaskKind::kNgramsMap, jobs::NgramCountsSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Partition task.part() of task.parts(); reads every input of role "ngrams". Output
// `.ngram_counts`. Counts: distinct_ngrams.
class NgramsMergeStage : public runtime::StageOf<jobs::TaskKind::kNgramsMerge, jobs::NgramCountsSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::ngram_counts
