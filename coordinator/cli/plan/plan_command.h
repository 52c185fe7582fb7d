// `trireme plan`: checks a job file, lists its data and prints what would be done, in this process and
// without running anything.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace trireme::coordinator::cli {

int plan_job(const std::string& file, const std::vector<std::string>& overrides, bool json,
             std::ostream& out);

}  // namespace trireme::coordinator::cli
