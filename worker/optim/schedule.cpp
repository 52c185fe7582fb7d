#include "worker/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trireme::worker::optim {

double learning_rate(const Schedule& schedule, std::int64_t step) {
  if (step < schedule.warmup_steps)
    return schedule.peak * static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
  if (!schedule.cosine) return schedule.peak;
  const auto length = std::max<std::int64_t>(1, schedule.total_steps - schedule.warmup_steps);
  const double done =
      std::min(1.0, static_cast<double>(step - schedule.warmup_steps) / static_cast<double>(length));
  return schedule.peak * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace trireme::worker::optim
