// Looks at the files that a job names, once, before its graph is built: shards of every data set in manifest
// order (sources/source_listing.h), the class files beside them, weights. Reads no shard but for the headers
// of the first tar of a source, whose layout has to be guessed.
#pragma once

#include <string>
#include <vector>

#include "coordinator/planner/task_graph.h"

namespace trireme::coordinator::planner {

// Every fault with its pointer: "not_found" with the --set that points elsewhere, "invalid".
ListedJob list_job(const jobs::JobSpec& job, std::vector<jobs::SpecFault>& faults);
// The same, all faults in one error (kNotFound when one of them is, else kInvalid).
ListedJob list_job(const jobs::JobSpec& job);

}  // namespace trireme::coordinator::planner
