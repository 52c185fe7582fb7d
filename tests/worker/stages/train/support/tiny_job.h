// A training task on pictures made on the spot: 48 distinct scenes of a coloured square, their captions, and
// synthetic captions and concepts in their .json, in three tar shards with their indexes. Runs it over a gang
// of threads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::stages::train {

class TinyJob {
 public:
  // Files below `folder`, which is emptied first. Labelled: the colour is the sample's class.
  explicit TinyJob(const std::string& folder, bool labelled = false);

  jobs::TrainSettings settings;
  jobs::ModelSpec model;
  std::int64_t checkpoint_every_steps = 0;
  bool filtered = false;               // add verdicts that drop every fifth sample
  bool stored_features = false;        // random features of width 24 and 20 instead of frozen towers' runs
  bool written_captions = false;       // sidecars of a stage "captions" with the same words as the .json
  std::int64_t captions_left_out = 0;  // of the last shard
  bool broken_feature = false;         // one sample's image feature is not a number
  bool commit = false;                 // checkpoints are sealed as the coordinator does it, at once
  bool lose_files = false;             // of those, at once
  int commit_looks = 0;                // how often the ranks look before they see it
  bool await_checkpoints = false;      // a step waits until the checkpoints due before it are written
  std::string device = "cpu";          // another one: over a gang of recorded streams

  struct Outcome {
    jobs::TaskDone done;
    std::vector<std::string> checkpoints;  // folders, kept
    std::vector<jobs::StepReport> reports;
    std::string error;  // of gang rank 0, "" when none
    ErrorKind error_kind = ErrorKind::kInternal;
    std::vector<std::int64_t> committed_at_exit;  // per rank that left: newest committed step by then
  };
  // `run`: names output and stage folders; a second run of one name goes on with its log. `on_step` is called
  // on rank 0 after each step.
  Outcome train(const std::string& run, int ranks, const std::string& resume_from = "",
                const std::function<void(std::int64_t step, runtime::StopRequest&)>& on_step = {});

  // ALIP's gates, DiHT's hard negatives and heads, ALIGN's smoothing, LAMB, one cycle, averaged weights.
  void combine_everything();

  std::string output(const std::string& run) const { return folder_ + "/" + run + "/store/result"; }
  std::string log(const std::string& run) const { return folder_ + "/" + run + "/stages/log.jsonl"; }

 private:
  jobs::Task task(const std::string& run) const;
  std::string folder_;
  bool labelled_;
  std::vector<jobs::ShardRef> shards_;
};

}  // namespace trireme::worker::stages::train
