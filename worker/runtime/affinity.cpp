#include "worker/runtime/affinity.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include <sched.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/machine/numa.h"
#include "worker/kernels/threads.h"

namespace trireme::worker::runtime {
namespace {
std::string text_of(const io::Path& file) {
  return io::exists(file) ? io::read_file(file, 4096) : "";
}

// The value of one "Name:\tvalue" line of /proc/<pid>/status.
std::string status_of(long pid, const std::string& name) {
  io::LineReader status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; status.next(line);)
    if (line.compare(0, name.size() + 1, name + ":") == 0) {
      const auto begin = line.find_first_not_of(" \t", name.size() + 1);
      return begin == std::string::npos ? "" : line.substr(begin);
    }
  return "";
}

bool launches_ranks(const std::string& program) {
  for (const char* name : {"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted", "slurmstepd"})
    if (program == name) return true;
  return false;
}
}  // namespace

CoreShare core_share(const std::vector<int>& allowed, double quota_cores, int workers, int position) {
  workers = std::max(workers, 1);
  const auto count = static_cast<int>(allowed.size());
  const int usable = static_cast<int>(std::ceil(quota_cores));
  if (quota_cores > 0 && usable < count) return {{}, std::max(1, usable / workers)};
  if (count == 0) return {{}, 1};
  if (count < workers) return {{allowed[static_cast<std::size_t>(position % count)]}, 1};
  const auto first = allowed.begin() + static_cast<long>(position) * count / workers;
  const auto last = allowed.begin() + static_cast<long>(position + 1) * count / workers;
  return {{first, last}, static_cast<int>(last - first)};
}

CoreShare numa_share(const std::vector<int>& allowed, double quota_cores,
                     const std::vector<std::vector<int>>& nodes, const std::vector<std::int64_t>& gpu_nodes,
                     int workers, int position) {
  std::vector<std::vector<int>> here(nodes.size());  // what is allowed of each node
  std::vector<int> by_node;
  for (std::size_t n = 0; n < nodes.size(); ++n)
    for (const int core : nodes[n])
      if (std::binary_search(allowed.begin(), allowed.end(), core)) {
        here[n].push_back(core);
        by_node.push_back(core);
      }
  const auto count = static_cast<std::int64_t>(nodes.size());
  const bool known = !gpu_nodes.empty() && std::all_of(gpu_nodes.begin(), gpu_nodes.end(), [&](auto node) {
    return node >= 0 && node < count && !here[static_cast<std::size_t>(node)].empty();
  });
  const auto node_of = [&](int worker) {
    return gpu_nodes[static_cast<std::size_t>(worker) % gpu_nodes.size()];
  };
  CoreShare share;
  if (known) {
    int peers = 0, before = 0;
    for (int worker = 0; worker < workers; ++worker) {
      if (node_of(worker) != node_of(position)) continue;
      before += worker < position;
      ++peers;
    }
    share = core_share(here[static_cast<std::size_t>(node_of(position))], quota_cores, peers, before);
  } else {
    share = core_share(by_node.size() == allowed.size() ? by_node : allowed, quota_cores, workers, position);
  }
  for (std::size_t n = 0; n < here.size() && !share.cores.empty(); ++n)
    if (std::all_of(share.cores.begin(), share.cores.end(), [&](int core) {
          return std::find(here[n].begin(), here[n].end(), core) != here[n].end();
        }))
      share.node = static_cast<int>(n);
  return share;
}

std::vector<int> cores_of_launch() {
  long pid = ::getppid();
  for (int generation = 0; generation < 16 && pid > 1; ++generation) {
    if (launches_ranks(status_of(pid, "Name")))
      return io::parse_core_list(status_of(pid, "Cpus_allowed_list"));
    pid = std::atol(status_of(pid, "PPid").c_str());
  }
  return io::parse_core_list(status_of(::getpid(), "Cpus_allowed_list"));
}

double cpu_quota() {
  std::istringstream v2(text_of("/sys/fs/cgroup/cpu.max"));
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period) return quota == "max" || period <= 0 ? 0 : std::atof(quota.c_str()) / period;
  double microseconds = 0;
  std::istringstream v1(text_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")),
      v1_period(text_of("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  if (v1 >> microseconds && v1_period >> period && microseconds > 0 && period > 0)
    return microseconds / period;
  return 0;
}

CoreShare settle_on_cores(int workers_on_host, int position_on_host, const std::string& device) {
  const CoreShare share = numa_share(
      cores_of_launch(), cpu_quota(), io::numa_nodes(),
      device == "cpu" ? std::vector<std::int64_t>{} : io::gpu_numa_nodes(std::getenv("CUDA_VISIBLE_DEVICES")),
      workers_on_host, position_on_host);
  if (!share.cores.empty()) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int core : share.cores) CPU_SET(static_cast<std::size_t>(core), &set);
    if (::sched_setaffinity(0, sizeof(set), &set) != 0)
      log_warning("affinity", "the system refused the cores of this worker; it stays where mpirun bound it");
  }
  kernels::set_torch_threads(share.threads);
  std::string text = device + ", " + std::to_string(share.threads) + " thread(s)";
  if (!share.cores.empty())
    text += " on cores " + std::to_string(share.cores.front()) + " to " + std::to_string(share.cores.back());
  if (share.node >= 0) text += ", NUMA node " + std::to_string(share.node);
  log_info("affinity", text);
  return share;
}

}  // namespace trireme::worker::runtime
