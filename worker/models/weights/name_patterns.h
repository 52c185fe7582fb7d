// Which tensors a list of patterns (common/base/name_pattern.h) means: a leading "!" takes back what an
// earlier pattern named; the last pattern that matches decides.
#pragma once

#include <string>
#include <vector>

namespace trireme::worker::models {

// One flag per name. Throws kInvalid for a pattern that matches none of them, with the nearest name.
std::vector<bool> named_by(const std::vector<std::string>& patterns, const std::vector<std::string>& names);

}  // namespace trireme::worker::models
