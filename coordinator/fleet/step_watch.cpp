#include "coordinator/fleet/step_watch.h"

#include <algorithm>
#include <vector>

namespace trireme::coordinator::fleet {
namespace {
constexpr int kWarmUpSteps = 5;
constexpr std::size_t kRemembered = 32;
}  // namespace

void StepWatch::step(SteadyTime now) {
  if (steps_ > 0) durations_.push_back(now - last_step_);
  if (durations_.size() > kRemembered) durations_.pop_front();
  last_step_ = last_sign_ = now;
  ++steps_;
}

void StepWatch::progress(SteadyTime now) {
  last_sign_ = now;
}

std::chrono::nanoseconds StepWatch::limit() const {
  if (durations_.empty()) return least_;
  std::vector<std::chrono::nanoseconds> sorted(durations_.begin(), durations_.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return std::max(least_, 10 * *middle);
}

bool StepWatch::stuck(SteadyTime now) const {
  return steps_ > kWarmUpSteps && now - last_sign_ > limit();
}

}  // namespace trireme::coordinator::fleet
