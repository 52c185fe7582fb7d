// The members of a sweep file, read strictly; what they make of the base job is sweep_spec.h's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/sweep/sweep_spec.h"

namespace trireme::coordinator::sweep {

struct SweepFile {
  std::string base_text, base_pointer;  // the base job as JSON; "/base"
  std::vector<SweepSetting> set;
  std::vector<std::string> seed_paths;
};

// Fills name, output, arms, axes, seeds, metrics and baseline of `sweep`. Faults are appended.
SweepFile read_sweep_file(std::string_view text, const io::Path& folder, Sweep& sweep,
                          std::vector<jobs::SpecFault>& faults);

std::string pointer_part(const std::string& name);  // "/" and the name, escaped (RFC 6901)
std::string short_hash(const std::string& text);    // 16 hex digits
void make_absolute(jobs::JobSpec& job);             // its paths, from the working folder

}  // namespace trireme::coordinator::sweep
