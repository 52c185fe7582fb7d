// vocabulary: a WordPiece vocabulary from the captions of a corpus (ALIGN's 100 k and 250 k; METHODS 5.2), as
// a tally. A map task counts the words of a range by hash partition; a merge task adds one partition of all
// ranges up; one task trains on the sums. Bytes are the same for any number of workers and any split into
// ranges. Words are those of text/bert_words.h under the stage's rules; all captions count.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::vocabulary {

// Output `.words`. Counts: in, captions, words.
class VocabularyMapStage : public runtime::StageOf<jobs::TaskKind::kVocabularyMap, jobs::VocabularySettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Partition task.part() of task.parts(); reads every input of role "words". Output `.word_counts`. Counts:
// distinct_words.
class VocabularyMergeStage
    : public runtime::StageOf<jobs::TaskKind::kVocabularyMerge, jobs::VocabularySettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Reads every input of role "word_counts". Output `.vocab.txt`, one piece per line. Counts: pieces.
// Progress is in pieces.
class VocabularyTrainStage
    : public runtime::StageOf<jobs::TaskKind::kVocabularyTrain, jobs::VocabularySettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::vocabulary
