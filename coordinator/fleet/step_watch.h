// Tells a gang that is stuck from one that is slow (RELIABILITY 8.8): no sign of progress for 10 times the
// moving median of its step time, and at least `least`. The first five steps, and the time while a checkpoint
// is written, do not count. Any thread's clock may feed it; single-threaded.
#pragma once

#include <chrono>
#include <deque>

#include "common/base/clock.h"

namespace trireme::coordinator::fleet {

class StepWatch {
 public:
  explicit StepWatch(std::chrono::nanoseconds least) : least_(least) {}

  void step(SteadyTime now);      // a training step was reported
  void progress(SteadyTime now);  // any other sign: a checkpoint, an evaluation's sample count moved
  bool stuck(SteadyTime now) const;
  std::chrono::nanoseconds limit() const;

 private:
  std::chrono::nanoseconds least_;
  std::deque<std::chrono::nanoseconds> durations_;  // the last 32 steps
  SteadyTime last_step_{}, last_sign_{};
  int steps_ = 0;
};

}  // namespace trireme::coordinator::fleet
