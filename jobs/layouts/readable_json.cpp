#include "jobs/layouts/readable_json.h"

#include <algorithm>
#include <string_view>

namespace trireme::jobs {

std::string readable_json(std::string json) {
  if (json.starts_with("\xEF\xBB\xBF")) json.erase(0, 3);
  if (json.find("NaN") == std::string::npos && json.find("Infinity") == std::string::npos) return json;
  std::string out;
  bool in_string = false;
  for (std::size_t at = 0; at < json.size();) {
    std::size_t taken = 1;
    if (in_string && json[at] == '\\')
      taken = std::min<std::size_t>(2, json.size() - at);
    else if (json[at] == '"')
      in_string = !in_string;
    else if (!in_string)
      for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
        if (taken == 1 && std::string_view(json).substr(at).starts_with(word)) taken = word.size();
    out += taken > 2 ? "null" : json.substr(at, taken);
    at += taken;
  }
  return out;
}

}  // namespace trireme::jobs
