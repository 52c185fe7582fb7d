// Class names and prompts that an evaluate stage names.
#pragma once

#include <string>
#include <vector>

#include "coordinator/planner/listing.h"

namespace trireme::coordinator::planner {

// EvaluateSettings::prompts by content into ListedJob::weights ("prompts <name>"), and the number of classes
// that the stage insists on. `at`: pointer of the stage. Faults are appended.
void list_prompts(const jobs::EvaluateSettings& evaluate, const std::string& at, ListedJob& listed,
                  std::vector<jobs::SpecFault>& faults);

}  // namespace trireme::coordinator::planner
