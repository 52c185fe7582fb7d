// Leases in the hands of workers: extended by heartbeats that name them, expired by the steady clock, never
// by wall clock (RELIABILITY 8.5). Single-threaded.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "coordinator/scheduler/scheduler.h"

namespace trireme::coordinator::scheduler {

struct Lease {
  LeaseId id;
  ReadyTask task;
  std::vector<Rank> workers;  // gang rank 0 first
  std::string address;
  std::int64_t granted_ms = 0;  // for people
  SteadyTime granted{}, deadline{};
};

class Leases {
 public:
  // Lease ids go on after `last`, the highest of the ledger: never reused within a run.
  Leases(LeaseId last, std::chrono::nanoseconds duration) : last_(last), duration_(duration) {}

  Lease& grant(const Grant& grant, SteadyTime now);
  Lease* find(LeaseId id);  // nullptr: not (or no longer) leased
  // The lease that `rank` works on, nullptr when none.
  Lease* of_worker(Rank rank);
  // One of that task, and not that one; nullptr when there is none.
  Lease* of_task(const ReadyTask& task, LeaseId but_not = {});
  Lease* twin_of(const Lease& lease) { return of_task(lease.task, lease.id); }
  // True when `rank` holds it.
  bool extend(LeaseId id, Rank rank, SteadyTime now);
  std::vector<LeaseId> expired(SteadyTime now) const;  // ascending
  void end(LeaseId id);
  std::vector<LeaseId> all() const;  // ascending
  std::size_t size() const { return leases_.size(); }
  LeaseId last() const { return last_; }

 private:
  LeaseId last_;
  std::chrono::nanoseconds duration_;
  std::map<LeaseId, Lease> leases_;
  std::unordered_map<Rank, LeaseId> by_worker_;
};

}  // namespace trireme::coordinator::scheduler
