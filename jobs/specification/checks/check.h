// Rules between fields: references among stages, data sets and models, what a kind needs, orders of numbers.
// Types and ranges of single fields are checked while reading.
#pragma once

#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// Appends faults; the job may hold others already (a field that could not be read has its default).
void check_job(const JobSpec& job, std::vector<SpecFault>& faults);

// Stages that `stage` needs, directly or through others; cycles end.
std::vector<const StageSpec*> all_needs(const std::vector<StageSpec>& stages, const StageSpec& stage);

}  // namespace trireme::jobs
