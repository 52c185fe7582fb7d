// concept_vocabulary: the objects and attributes that a corpus's captions name, with counts, as a tally
// (jobs/ spec/concept_stages_spec.h; METHODS 2.3). A map task reads the captions of a range that the filters
// kept and counts, per concept, the samples that have it; merges add a partition of all ranges up; one task
// keeps the frequent ones and links them to WordNet. Bytes are the same for any number of workers and any
// split into ranges.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::concept_vocabulary {

// Output `.concept_words` (Word counts; a word is "objects dog" or "attributes red"). Counts: in, captions,
// concepts.
class ConceptWordsMapStage
    : public runtime::StageOf<jobs::TaskKind::kConceptWordsMap, jobs::ConceptVocabularySettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Partition task.part() of task.parts(); reads every input of role "concept_words". Output `.concept_counts`.
// Counts: distinct_concepts.
class ConceptWordsMergeStage
    : public runtime::StageOf<jobs::TaskKind::kConceptWordsMerge, jobs::ConceptVocabularySettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Reads every input of role "concept_counts". Output `.concepts.json`. Counts: objects, attributes,
// left_out.rare, left_out.unknown, left_out.beyond (of the most that are kept). kInvalid when a vocabulary
// has fewer than two.
class ConceptVocabularyStage
    : public runtime::StageOf<jobs::TaskKind::kConceptVocabulary, jobs::ConceptVocabularySettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::concept_vocabulary
