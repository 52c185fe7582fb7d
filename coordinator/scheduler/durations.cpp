#include "coordinator/scheduler/durations.h"

#include <algorithm>
#include <vector>

namespace trireme::coordinator::scheduler {
namespace {
constexpr std::size_t kRemembered = 128, kLeastFellows = 3;
}  // namespace

void Durations::note(const ReadyTask& task, std::chrono::nanoseconds time) {
  auto& times = times_[{task.stage, task.phase}];
  times.push_back(time);
  if (times.size() > kRemembered) times.pop_front();
}

std::optional<std::chrono::nanoseconds> Durations::limit(const ReadyTask& task) const {
  const auto found = times_.find({task.stage, task.phase});
  if (found == times_.end() || found->second.size() < kLeastFellows) return std::nullopt;
  std::vector<std::chrono::nanoseconds> times(found->second.begin(), found->second.end());
  const auto most = times.begin() + static_cast<std::ptrdiff_t>((times.size() * 3 - 1) / 4);
  std::nth_element(times.begin(), most, times.end());
  return std::max(least_, *most + *most / 2);
}

}  // namespace trireme::coordinator::scheduler
