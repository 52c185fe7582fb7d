// How a setting names another stage's result: "stage:<name>".
#pragma once

#include <string>
#include <string_view>

namespace trireme::jobs {

// "stage:<name>" -> the name; "" of anything else.
inline std::string named_stage(std::string_view value) {
  constexpr std::string_view kPrefix = "stage:";
  return value.starts_with(kPrefix) ? std::string(value.substr(kPrefix.size())) : "";
}

}  // namespace trireme::jobs
