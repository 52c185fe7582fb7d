// `trireme doctor JOB|PATH`: what a run would say of the data, before it runs.
#pragma once

#include <string>
#include <vector>

#include "coordinator/cli/doctor.h"

namespace trireme::coordinator::cli {

// `what`: a job file (*.json), or anything that a source's path may name. Lists every source, reads
// the first shards of each with trireme-worker, and names what is wrong as the run would.
std::vector<Check> check_data_of(const std::string& what, const std::vector<std::string>& overrides);

}  // namespace trireme::coordinator::cli
