// Whether a shard is still the one that was listed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/planner/task_graph.h"

namespace trireme::coordinator::planner {

// Size, and hash of real path, size and time of change; of a folder those of its files.
std::uint64_t identity_of(const std::string& path, jobs::DataFormat format, std::uint64_t& bytes);
// The same together with the files that SourceSpec::parquet means for the shard.
std::uint64_t identity_of(const std::string& path, jobs::DataFormat format, const std::string& parquet,
                          std::uint64_t& bytes);

// The first that is there and not as it was listed, "" when all are.
std::string changed_file(const std::vector<ListedFile>& files);

}  // namespace trireme::coordinator::planner
