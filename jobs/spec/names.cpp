#include "jobs/spec/names.h"

#include <algorithm>

#include "common/base/log.h"

namespace trireme::jobs {

bool good_name(const std::string& name, bool capitals) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           (capitals && ((c >= 'A' && c <= 'Z') || c == '.'));
  });
}

std::string quoted(const std::string& name) {
  return "\"" + printable(name, 64) + "\"";
}

}  // namespace trireme::jobs
