// "Did you mean …?": the known name closest to a mistyped one (Damerau-free Levenshtein, at most a third of
// its letters off).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme {

// Empty when nothing is near enough.
std::string nearest_name(std::string_view given, const std::vector<std::string>& known);

}  // namespace trireme
