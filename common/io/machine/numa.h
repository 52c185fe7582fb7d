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

// The node of each GPU, -1 where unknown, in the order in which a process numbers them: the driver's list by
// PCI address, or what `visible` (CUDA_VISIBLE_DEVICES; null when it is not set) names of it by number or
// UUID. As CUDA has it, the list ends at the first entry that is none of this machine's.
std::vector<std::int64_t> gpu_numa_nodes(const char* visible, const Path& root = "/");

// "0-3,8" as in cpulist and /proc/<pid>/status; malformed text gives an empty list.
std::vector<int> parse_core_list(std::string_view text);

}  // namespace trireme::io
