// log.jsonl of a train stage: exactly one row per step, also after a restart. Rows are whole lines; a row
// torn by a crash and rows beyond the step that training resumes from are cut off before the first new one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::stages::train {

struct StepRow {
  std::int64_t step = 0;  // steps done, 1 for the first
  std::int64_t epoch = 0, samples = 0, live = 0;
  double loss = 0, learning_rate = 0, logit_scale = 0, gradient_norm = 0, seconds = 0, data_wait_seconds = 0;
  std::string order_hash;  // xxh3 of the (shard, sample) pairs of the step's batch, 16 hex digits
  bool skipped = false, non_finite = false;
  std::int64_t rolled_back_to = -1;                   // step of the checkpoint, -1: not
  std::vector<std::pair<std::string, double>> parts;  // of the loss, where it has several
  std::vector<std::pair<std::string, double>> gates;  // running means H and mean weights
  std::string evaluation;  // JSON object of metrics, "" when the step was not evaluated
};

class StepLog {
 public:
  static io::Path of(const io::Path& stage_folder) { return stage_folder / "log.jsonl"; }
  // Keeps the rows of steps 1 … `resumed_step` of an existing file.
  StepLog(const io::Path& path, std::int64_t resumed_step);
  void append(const StepRow& row);

 private:
  std::unique_ptr<io::LineAppender> lines_;
};

}  // namespace trireme::worker::stages::train
