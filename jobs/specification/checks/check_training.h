// Rules between the fields of a train stage: loss, temperature, concept heads, optimiser.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// `at`: pointer of the stage. Appends faults.
void check_training(const PipelineSpec& spec, const TrainSettings& settings, const std::string& at,
                    std::vector<SpecFault>& faults);

}  // namespace trireme::jobs
