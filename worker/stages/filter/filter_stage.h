// filter: one verdict per sample of a range by the decode check and ALIGN's rules (rules.h). Reads the shard
// through its index (role "shard_index") and, for the counted rules, the artifacts of a pair_counts stage
// (role "pair_counts"). Leaves `.verdicts.jsonl` and `.thumbnails.jsonl`; their bytes depend on the range,
// the settings and the counts only. Decodes on TaskContext::threads threads. A range without any decodable
// image is no error here: whether that is too much damage is for the planner to judge.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/data/pair_counts.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::stages::filter {

class FilterStage : public runtime::Stage {
 public:
  jobs::TaskDone run(const jobs::Task& task, runtime::TaskContext& context) override;

 private:
  // Opened once per set of files: tasks of one stage share them.
  const data::PairCounts* pair_counts(const jobs::Task& task);
  std::vector<std::string> counts_paths_;
  std::unique_ptr<data::PairCounts> counts_;
};

}  // namespace trireme::worker::stages::filter
