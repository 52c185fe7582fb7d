// NUMA nodes of this machine as Linux shows them: their cores, and the node of each GPU that may be used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file_system.h"

namespace trireme::io {

// Cores of each node in the order of their numbers (/sys/devices/system/node/node<n>/cpulist); one empty
// entry for a node of memory alone. Empty where the kernel does not say. `root`: tests.
std::vector<std::vector<int>> numa_nodes(const Path& root = "/");

// The node of each GPU that a process sees (visible_gpus() in gpus.h), -1 where unknown.
std::vector<std::int64_t> gpu_numa_nodes(const char* visible, const Path& root = "/");

// "0-3,8" as in cpulist and /proc/<pid>/status; malformed text gives an empty list.
std::vector<int> parse_core_list(std::string_view text);

}  // namespace trireme::io
