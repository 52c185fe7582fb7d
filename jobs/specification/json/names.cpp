#include "jobs/specification/json/names.h"

#include <algorithm>

#include "common/base/log.h"
#include "common/base/nearest_name.h"

namespace trireme::jobs {
namespace {

const std::string kAnd = "and ";

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "(none)" : out;
}

}  // namespace

void add_fault(std::vector<SpecFault>& faults, SpecFault fault) {
  if (!listed_in_full(faults)) return faults.push_back(std::move(fault));
  if (faults.back().code != "more") faults.push_back({"", "more", kAnd + "0", ""});
  std::string& text = faults.back().detail;
  text = kAnd + std::to_string(1 + std::stoul(text.substr(kAnd.size()))) + " more";
}

bool good_name(const std::string& name, bool capitals) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           (capitals && ((c >= 'A' && c <= 'Z') || c == '.'));
  });
}

std::string quoted(const std::string& name) {
  return "\"" + printable(name, 64) + "\"";
}

std::string meant(const std::string& given, const std::vector<std::string>& known) {
  const std::string near = nearest_name(given, known);
  return near.empty() ? "known: " + listed(known) : "did you mean \"" + near + "\"?";
}

}  // namespace trireme::jobs
