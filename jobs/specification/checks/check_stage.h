// Rules of one stage's settings that hold across fields: the data sets, models and stages that it names
// exist, come before it, and fit.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/fault.h"

namespace trireme::jobs {

// Of spec.stages[index]. Faults are appended; data sets that the stage names are added to `used_data`.
void check_stage(const PipelineSpec& spec, std::size_t index, std::set<std::string>& used_data,
                 std::vector<SpecFault>& faults);

}  // namespace trireme::jobs
