#include "coordinator/scheduler/leases.h"

#include <algorithm>

namespace trireme::coordinator::scheduler {

Lease& Leases::grant(const Grant& grant, SteadyTime now) {
  const LeaseId id{++last_.value};
  Lease& lease = leases_[id];
  lease.id = id;
  lease.task = grant.task;
  lease.workers = grant.workers;
  lease.granted = now;
  lease.deadline = now + duration_;
  for (const Rank rank : grant.workers) by_worker_[rank] = id;
  return lease;
}

Lease* Leases::find(LeaseId id) {
  const auto found = leases_.find(id);
  return found == leases_.end() ? nullptr : &found->second;
}

Lease* Leases::of_worker(Rank rank) {
  const auto found = by_worker_.find(rank);
  return found == by_worker_.end() ? nullptr : find(found->second);
}

Lease* Leases::of_task(const ReadyTask& task, LeaseId but_not) {
  for (auto& [id, lease] : leases_)
    if (id != but_not && lease.task == task) return &lease;
  return nullptr;
}

bool Leases::extend(LeaseId id, Rank rank, SteadyTime now) {
  Lease* lease = find(id);
  if (lease == nullptr) return false;
  if (std::find(lease->workers.begin(), lease->workers.end(), rank) == lease->workers.end()) return false;
  lease->deadline = std::max(lease->deadline, now + duration_);
  return true;
}

std::vector<LeaseId> Leases::expired(SteadyTime now) const {
  std::vector<LeaseId> ids;
  for (const auto& [id, lease] : leases_)
    if (lease.deadline < now) ids.push_back(id);
  return ids;
}

void Leases::end(LeaseId id) {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return;
  for (const Rank rank : found->second.workers) {
    const auto held = by_worker_.find(rank);
    if (held != by_worker_.end() && held->second == id) by_worker_.erase(held);
  }
  leases_.erase(found);
}

std::vector<LeaseId> Leases::all() const {
  std::vector<LeaseId> ids;
  for (const auto& [id, lease] : leases_) ids.push_back(id);
  return ids;
}

}  // namespace trireme::coordinator::scheduler
