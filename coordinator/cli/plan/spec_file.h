// Reading a job file for the command line: every fault at once.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::cli {

// Throws kInvalid with one line per fault: pointer, what is wrong, what to do.
jobs::JobSpec read_job_file(const std::string& file, const std::vector<std::string>& overrides);

// The words of a text that may have several lines, in one line; printable.
std::string one_line(const std::string& text, std::size_t limit = 4096);

std::string faults_text(const std::vector<jobs::SpecFault>& faults);

}  // namespace trireme::coordinator::cli
