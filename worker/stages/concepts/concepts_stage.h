// concepts: a teacher's most probable concepts per sample, for concept heads (jobs/specification/
// concept_stages_spec.h; METHODS 2.3). One task settles on vocabularies and teacher, then map tasks label a
// range each.
//
// Batches are consecutive runs of the range's samples, each computed with one intra-op thread,
// TaskContext::threads of them side by side: the bytes depend on the range, not on the machine's cores.
// Undecodable samples are listed in the file and counted as bad.<reason>.
#pragma once

#include <memory>
#include <string>

#include "worker/runtime/open_task.h"
#include "worker/stages/concepts/teacher.h"

namespace trireme::worker::stages::concepts {

// Inputs "model" and "concept_vocabulary" where settings name stages. Output `.concepts.json`: the
// vocabularies in the order of the teacher's outputs, and its hash. Counts: <list>: concepts of it. kInvalid:
// classes and vocabulary of different sizes, k beyond a vocabulary, a model without heads.
class ConceptTeacherStage : public runtime::StageOf<jobs::TaskKind::kConceptTeacher, jobs::ConceptsSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

// Inputs "concept_vocabulary" (of the task above), "model" as above, "verdicts", and "features" of a frozen
// tower, which are used instead of running it. Output `.concepts.safetensors` (Concept labels). Counts: in,
// labelled, stored_features.
class ConceptsStage : public runtime::StageOf<jobs::TaskKind::kConcepts, jobs::ConceptsSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  Teacher& teacher(const Task& task, const std::string& device);  // kept from task to task
  std::string teacher_key_;
  std::unique_ptr<Teacher> teacher_;
};

}  // namespace trireme::worker::stages::concepts
