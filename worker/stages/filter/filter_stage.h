// filter: one verdict per sample of a range by the rules of rules.h, from the facts that measure_stage.h left
// for the same range (role "facts"); pictures are opened for a few thumbnails only. Also reads, as the
// settings ask: role "ngram_counts" (where the rank of max_ngrams falls), role "verdicts" of the filters
// before it, the lists. Leaves `.verdicts.jsonl` and `.thumbnails.jsonl`; their bytes depend on the range,
// the settings and the inputs only. A range without any decodable image is no error here: whether that is too
// much damage is for the planner to judge.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/runtime/open_task.h"
#include "worker/stages/filter/rules.h"

namespace trireme::worker::stages::filter {

class FilterStage : public runtime::StageOf<jobs::TaskKind::kFilter, jobs::FilterSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  // Made once per stage: tasks share lists and the cut of n-grams.
  const RuleBook& book_of(const Task& task);
  std::string book_key_;
  std::optional<RuleBook> book_;
};

}  // namespace trireme::worker::stages::filter
