// Rules of a filter stage: the tallies that its rules count on come before, over the same data, and fit.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// `at`: pointer of the stage; `needs`: all_needs() of it. Appends faults.
void check_filter(const PipelineSpec& spec, const FilterSettings& settings, const std::string& at,
                  const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs
