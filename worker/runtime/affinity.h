// Which cores a worker computes on: those of the NUMA node that its GPU hangs on, else an even share of the
// host's, node by node, however mpirun bound it (it binds one or two ranks to single cores, and torch would
// see one thread). What it then allocates lies on that node, too: Linux places a page where it is first
// touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::worker::runtime {

struct CoreShare {
  std::vector<int>
      cores;  // to run on; empty: wherever the system likes (a CPU quota, not a core list, limits us)
  int threads = 1;
  int node = -1;  // the NUMA node that has all of them; -1: several, or unknown
};

// The share of worker `position` of `workers` on a host whose `allowed` cores (sorted) may be used together
// for `quota_cores` seconds per second (0: no quota). Shares are contiguous, disjoint and cover all cores
// when there are at least as many cores as workers, and single cores, shared in turn, otherwise.
CoreShare core_share(const std::vector<int>& allowed, double quota_cores, int workers, int position);

// The same on a machine whose cores lie on `nodes` (common/io/machine/numa.h). `gpu_nodes`: the node of each
// GPU, which the workers take in turn; empty for workers on the CPU. Where every GPU's node is known and has
// allowed cores, the workers of a node share its cores; else the cores of all nodes are shared, node by node.
CoreShare numa_share(const std::vector<int>& allowed, double quota_cores,
                     const std::vector<std::vector<int>>& nodes, const std::vector<std::int64_t>& gpu_nodes,
                     int workers, int position);

// Cores this machine lets the launch have: those of mpirun or orted above us, whose set is not narrowed by
// the binding of ranks; of this process where there is none.
std::vector<int> cores_of_launch();

// Limit of the control group in cores, 0 without one (cgroup v2 cpu.max, v1 cpu.cfs_quota_us).
double cpu_quota();

// Moves this thread, and so all that start later, to its share and sets torch's number of threads. Returns
// the share; says so in the log. `device`: "cpu", or "cuda:<n>".
CoreShare settle_on_cores(int workers_on_host, int position_on_host, const std::string& device);

}  // namespace trireme::worker::runtime
