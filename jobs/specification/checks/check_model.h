// Rules between the fields of a model: towers that fit their images, tokens and weights.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// `pointer`: of the model. Appends faults.
void check_model(const ModelSpec& model, const std::string& pointer, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs
