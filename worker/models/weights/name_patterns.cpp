#include "worker/models/weights/name_patterns.h"

#include "common/base/error.h"
#include "common/base/name_pattern.h"
#include "common/base/nearest_name.h"

namespace trireme::worker::models {

std::vector<bool> named_by(const std::vector<std::string>& patterns, const std::vector<std::string>& names) {
  std::vector<bool> named(names.size(), false);
  for (const std::string& pattern : patterns) {
    const bool back = !pattern.empty() && pattern[0] == '!';
    const std::string_view bare = std::string_view(pattern).substr(back ? 1 : 0);
    bool any = false;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!matches(bare, names[i])) continue;
      named[i] = !back;
      any = true;
    }
    if (any) continue;
    const std::string near = nearest_name(std::string(bare), names);
    throw Error(ErrorKind::kInvalid, "freeze: no parameter is called '" + pattern + "'",
                near.empty() ? "`trireme weights inspect` lists the names; * stands for any characters"
                             : "the nearest name is '" + near + "'; * stands for any characters");
  }
  return named;
}

}  // namespace trireme::worker::models
