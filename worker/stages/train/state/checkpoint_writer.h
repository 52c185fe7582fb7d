// Writes training states in the background, one at a time (RELIABILITY 8.7): the files of
// <checkpoint folder>/.tmp-<step>-<incarnation>, each synced, then the folder, and the log of the steps
// before (a run that goes on from here adds no row of theirs), then `written` is told. Gang rank 0 owns one.
// A state that does not fit on the disk or cannot be written is warned of and counted, and training goes on,
// until none could be written for `fail_after_seconds`.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "jobs/protocol/messages.h"
#include "worker/stages/train/state/train_state.h"

namespace trireme::telemetry {
class Metrics;
}

namespace trireme::worker::stages::train {

class CheckpointWriter {
 public:
  // `log` may be missing. `written` is called on the writer's thread. `metrics` may be null.
  CheckpointWriter(std::string folder, io::Path log, Incarnation incarnation, int world_size,
                   double fail_after_seconds, std::function<void(const jobs::CheckpointWritten&)> written,
                   telemetry::Metrics* metrics);
  ~CheckpointWriter();  // waits for the one under way
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // False, and counted, when one is under way.
  bool start(TrainState state, bool best, double stall_seconds);
  bool busy() const;
  void wait();                        // until nothing is under way
  std::int64_t last_written() const;  // step, -1 when none
  // Throws what kept the last one from being written, once none could be for so long.
  void throw_if_hopeless() const;
  // Some have failed since one was written, and the next is to be tried before it is due.
  bool wants_another_try() const;

 private:
  void write(const TrainState& state, bool best, double stall_seconds);
  void failed(std::int64_t step, const Error& error);
  void count_failure(const char* cause) const;

  std::string folder_;
  io::Path log_;
  Incarnation incarnation_;
  int world_size_;
  std::chrono::duration<double> fail_after_;
  std::function<void(const jobs::CheckpointWritten&)> written_;
  telemetry::Metrics* metrics_;
  mutable std::mutex mutex_;
  bool busy_ = false;
  std::int64_t last_written_ = -1;
  // Since one was written: when the first failed and the last, and once it is hopeless, why.
  std::optional<std::chrono::steady_clock::time_point> failing_since_, failed_at_;
  std::optional<Error> hopeless_;
  std::thread thread_;
};

}  // namespace trireme::worker::stages::train
