// caption: a captioner over a range of samples, stored as `.captions.jsonl`
// (worker/data/shards/written_captions.h).
//
// The captioner is Task::model with its weights, or with an input of role "model" the folder that a train
// stage left. Role "verdicts" leaves dropped samples out. Batches are consecutive runs of the range's
// samples, each computed with one intra-op thread, TaskContext::threads of them side by side: the bytes
// depend on the range, not on the machine's cores. Draws of nucleus sampling are keyed by (seed, shard,
// sample). Undecodable samples have a line with their fault and count as bad.<reason>.
// Counts: in, captions (with words), tokens, empty (no words), repeated (the words of an earlier sample of
// the range), looping (a run of one to four tokens three times in a row), cut (no end before max_length).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/embedding/kept_model.h"
#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::caption {

// Whether some run of one to four tokens stands three times in a row.
bool loops(const std::vector<std::int64_t>& ids);

class CaptionStage : public runtime::StageOf<jobs::TaskKind::kCaption, jobs::CaptionSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  embedding::KeptModel model_;
  std::string fingerprint_;  // of the kept model
};

}  // namespace trireme::worker::stages::caption
