#include "coordinator/scheduler/scheduler.h"

#include <algorithm>
#include <tuple>

namespace trireme::coordinator::scheduler {

bool goes_before(const ReadyTask& a, const ReadyTask& b) {
  return std::tuple(-a.stage, -a.phase, a.data, a.shard, a.first) <
         std::tuple(-b.stage, -b.phase, b.data, b.shard, b.first);
}

std::int64_t gang_size(std::int64_t slots, std::int64_t workers) {
  for (std::int64_t size = std::min(slots, workers); size >= 1; --size)
    if (slots % size == 0) return size;
  return 0;
}

void Scheduler::add(const ReadyTask& task) {
  if (task.slots > 0)
    gangs_.insert(task);
  else
    maps_.push(task);
}

// Starts the first gang when its members are idle; otherwise `reserved` of the lowest ranks are kept for it.
std::vector<Grant> Scheduler::grant_gang(const std::vector<Rank>& workers, std::set<Rank>& idle,
                                         std::size_t& reserved) {
  const ReadyTask task = *gangs_.begin();
  reserved = static_cast<std::size_t>(gang_size(task.slots, static_cast<std::int64_t>(workers.size())));
  std::vector<Rank> members(workers.begin(), workers.begin() + static_cast<std::ptrdiff_t>(reserved));
  if (members.empty() ||
      !std::all_of(members.begin(), members.end(), [&](Rank rank) { return idle.contains(rank); }))
    return {};
  for (const Rank rank : members) idle.erase(rank);
  gangs_.erase(gangs_.begin());
  gang_runs_ = true;
  reserved = 0;
  return {{task, std::move(members)}};
}

std::vector<Grant> Scheduler::grant(const std::vector<Rank>& workers, std::set<Rank>& idle,
                                    bool everyone_here, std::size_t most) {
  std::vector<Grant> grants;
  std::size_t reserved = 0;
  if (!gangs_.empty() && !gang_runs_ && everyone_here && most > 0)
    grants = grant_gang(workers, idle, reserved);
  auto next = idle.begin();
  if (reserved > 0) next = idle.upper_bound(workers[reserved - 1]);
  while (next != idle.end() && !maps_.empty() && grants.size() < most) {
    grants.push_back({maps_.top(), {*next}});
    maps_.pop();
    next = idle.erase(next);
  }
  return grants;
}

}  // namespace trireme::coordinator::scheduler
