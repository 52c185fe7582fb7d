// How long the tasks of a phase take. One that takes far longer than its fellows is given to a second worker
// (RELIABILITY 8.5): whoever is done first counts. Single-threaded.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "coordinator/scheduler/scheduler.h"

namespace trireme::coordinator::scheduler {

class Durations {
 public:
  explicit Durations(std::chrono::nanoseconds least) : least_(least) {}

  void note(const ReadyTask& task, std::chrono::nanoseconds time);  // of one that is done
  // From when on a task is far behind: 1.5 times what three quarters of the last fellows took, and `least`.
  // Nothing before three of them are done.
  std::optional<std::chrono::nanoseconds> limit(const ReadyTask& task) const;

 private:
  std::chrono::nanoseconds least_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::deque<std::chrono::nanoseconds>>
      times_;  // stage, phase
};

}  // namespace trireme::coordinator::scheduler
