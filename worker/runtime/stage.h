// The seam between the actor and the kinds of work it can do: one implementation per folder of worker/stages.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "jobs/protocol/messages.h"
#include "jobs/store/receipt.h"

namespace trireme::telemetry {
class Metrics;
}
namespace trireme::worker::collective {
class Group;
}

namespace trireme::worker::runtime {

// Set by the control thread, read by the stage at least every 100 ms of work. Thread-safe.
class StopRequest {
 public:
  void stop() { stop_ = true; }
  void checkpoint_and_stop() { checkpoint_first_ = true; }
  bool stop_now() const { return stop_; }
  bool checkpoint_first() const { return checkpoint_first_; }
  void clear() {
    stop_ = false;
    checkpoint_first_ = false;
  }
  void throw_if_stopped() const {  // kCancelled
    if (stop_) throw Error(ErrorKind::kCancelled, "the task was cancelled");
  }

 private:
  std::atomic<bool> stop_{false}, checkpoint_first_{false};
};

// Everything a stage may touch. Lives as long as the call of run(). `progress`, `report_step` and
// `checkpoint_written` may be called from any thread; the rest belongs to the thread that calls run().
struct TaskContext {
  const StopRequest* stop = nullptr;
  const Clock* clock = nullptr;
  telemetry::Metrics* metrics = nullptr;  // may be null
  Incarnation incarnation;
  int threads = 1;             // cores of this worker
  std::string device = "cpu";  // "cpu" or "cuda:<n>"
  std::function<void(std::int64_t done, std::int64_t total)> progress;
  // Gang only.
  collective::Group* group = nullptr;                        // ranks in the order of Task::members
  std::function<void(const jobs::StepReport&)> report_step;  // lease is filled in
  std::function<void(const jobs::CheckpointWritten&)> checkpoint_written;  // lease is filled in
  std::function<std::int64_t()> last_committed_checkpoint;  // step, -1 when none in this incarnation
};

class Stage {
 public:
  virtual ~Stage() = default;

  // Does the task and leaves its output, complete, at task.output + extension. The output is a pure function
  // of what the address covers, so that a second run gives the same bytes. Throws Error; kTryAgain and
  // kUnavailable are retried. Only outputs, counts and summary of the result need to be filled in.
  virtual jobs::TaskDone run(const jobs::Task& task, TaskContext& context) = 0;
};

using store::describe_output;

// Lines of Task::inputs_file, or Task::inputs and Task::shard when it has none.
std::vector<jobs::InputsLine> read_inputs(const jobs::Task& task);

}  // namespace trireme::worker::runtime
