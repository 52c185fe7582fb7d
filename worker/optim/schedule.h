// Learning rate as a pure function of the step (METHODS 10.5): linear from 0 over the warm-up, then a cosine
// to 0 at the last step, or constant.
#pragma once

#include <cstdint>

namespace trireme::worker::optim {

struct Schedule {
  double peak = 5e-4;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;  // warm-up included
  bool cosine = true;            // false: constant after the warm-up
};

// `step`: 0-based number of the update.
double learning_rate(const Schedule& schedule, std::int64_t step);

}  // namespace trireme::worker::optim
