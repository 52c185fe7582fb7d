// Names that a job file may give, and how they are quoted in a fault.
#pragma once

#include <string>
#include <vector>

namespace trireme::jobs {

// At most 64 of a-z, 0-9, '_' and '-', and with `capitals` also A-Z and '.'.
bool good_name(const std::string& name, bool capitals);

// In double quotes, cut at 64 characters, nothing unprintable.
std::string quoted(const std::string& name);

// A hint: the known name that is near the given one, else all of them.
std::string meant(const std::string& given, const std::vector<std::string>& known);

}  // namespace trireme::jobs
