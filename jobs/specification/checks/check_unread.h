// A setting that nothing reads beside the others (FieldRules::unread) is refused, with the reason, where its
// value is not the default: it would look as if it did something.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/fault.h"

namespace trireme::jobs {

// `at`: pointer of what holds the fields. Appends faults.
void check_unread(const StageSettings& settings, const std::string& at, std::vector<SpecFault>& faults);
void check_unread(const ModelSpec& model, const std::string& at, std::vector<SpecFault>& faults);
// What depends on more than one struct: the same fault.
SpecFault unread_fault(const std::string& at, const std::string& why);
void check_unread(const DataSpec& data, const std::string& at, std::vector<SpecFault>& faults);

}  // namespace trireme::jobs
