// Names that a job file may give, and how they are quoted in a fault.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "jobs/specification/json/fault.h"

namespace trireme::jobs {

// A document may be wrong in as many places as it has bytes: beyond the first hundred only their number is
// kept (one more fault, code "more"), so that what a document costs is linear in its length.
constexpr std::size_t kMostFaults = 100;
inline bool listed_in_full(const std::vector<SpecFault>& faults) {
  return faults.size() >= kMostFaults;
}
void add_fault(std::vector<SpecFault>& faults, SpecFault fault);

// At most 64 of a-z, 0-9, '_' and '-', and with `capitals` also A-Z and '.'.
bool good_name(const std::string& name, bool capitals);

// In double quotes, cut at 64 characters, nothing unprintable.
std::string quoted(const std::string& name);

// A hint: the known name that is near the given one, else all of them.
std::string meant(const std::string& given, const std::vector<std::string>& known);

}  // namespace trireme::jobs
