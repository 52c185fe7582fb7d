// Which cores a worker computes on: the workers of a host share its cores evenly, however mpirun bound them
// (it binds one or two ranks to single cores, and torch would see one thread).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::worker::runtime {

struct CoreShare {
  std::vector<int>
      cores;  // to run on; empty: wherever the system likes (a CPU quota, not a core list, limits us)
  int threads = 1;
};

// The share of worker `position` of `workers` on a host whose `allowed` cores (sorted) may be used together
// for `quota_cores` seconds per second (0: no quota). Shares are contiguous, disjoint and cover all cores
// when there are at least as many cores as workers, and single cores, shared in turn, otherwise.
CoreShare core_share(const std::vector<int>& allowed, double quota_cores, int workers, int position);

// "0-3,8" as in /proc/<pid>/status; malformed text gives an empty list.
std::vector<int> parse_core_list(std::string_view text);

// Cores this machine lets the launch have: those of mpirun or orted above us, whose set is not narrowed by
// the binding of ranks; of this process where there is none.
std::vector<int> cores_of_launch();

// Limit of the control group in cores, 0 without one (cgroup v2 cpu.max, v1 cpu.cfs_quota_us).
double cpu_quota();

// Moves this thread, and so all that start later, to its share and sets torch's number of threads. Returns
// the share; says so in the log.
CoreShare settle_on_cores(int workers_on_host, int position_on_host);

}  // namespace trireme::worker::runtime
