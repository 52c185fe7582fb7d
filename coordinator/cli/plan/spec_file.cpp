#include "coordinator/cli/plan/spec_file.h"

#include <sstream>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/file.h"

namespace trireme::coordinator::cli {

std::string one_line(const std::string& text, std::size_t limit) {
  std::istringstream words(text);
  std::string line;
  for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
  return printable(line, limit);
}

std::string faults_text(const std::vector<jobs::SpecFault>& faults) {
  std::string text;
  for (const auto& fault : faults) {
    text += "\n  " + (fault.pointer.empty() ? "(document)" : printable(fault.pointer)) + ": " +
            one_line(fault.detail);
    if (!fault.hint.empty()) text += " (" + one_line(fault.hint) + ")";
  }
  return text;
}

jobs::JobSpec read_job_file(const std::string& file, const std::vector<std::string>& overrides) {
  jobs::ReadResult read = jobs::read_job(io::read_file(file, 1U << 20), overrides);
  if (!read.ok())
    throw Error(ErrorKind::kInvalid, file + " has " + std::to_string(read.faults.size()) +
                                         (read.faults.size() == 1 ? " fault:" : " faults:") +
                                         faults_text(read.faults));
  return std::move(read.job);
}

}  // namespace trireme::coordinator::cli
