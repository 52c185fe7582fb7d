// Rules between the fields of a data set: where its sources come from, which part of it, its classes.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// `pointer`: of the data set. Appends faults.
void check_data(const DataSpec& data, const std::string& pointer, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs
