#include "worker/checkpoint/wrapper_names.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme::worker::checkpoint {
namespace {

constexpr std::array<std::string_view, 5> kAnywhere{"module", "_orig_mod", "_fsdp_wrapped_module",
                                                    "_checkpoint_wrapped_module", "_forward_module"};
constexpr std::array<std::string_view, 9> kFirst{
    "model", "clip", "clip_model", "net", "network", "state_dict", "student", "_model", "base_model"};
constexpr std::array<std::string_view, 6> kAveraged{"ema",        "model_ema",      "ema_model",
                                                    "module_ema", "state_dict_ema", "averaged_model"};

template <std::size_t N>
bool among(const std::array<std::string_view, N>& known, std::string_view name) {
  return std::find(known.begin(), known.end(), name) != known.end();
}

std::string without_components(std::string_view name) {
  std::string out;
  for (std::size_t from = 0; from <= name.size();) {
    const std::size_t dot = std::min(name.find('.', from), name.size());
    const std::string_view part = name.substr(from, dot - from);
    if (!among(kAnywhere, part)) out.append(out.empty() ? "" : ".").append(part);
    from = dot + 1;
  }
  return out.empty() ? std::string(name) : out;
}

std::string_view first_of(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

// The wrapper that all names (but those that are left out) begin with.
std::string shared_first(const std::vector<std::string>& names) {
  std::string shared;
  for (const std::string& name : names) {
    if (name.empty()) continue;
    const std::string_view first = first_of(name);
    if (!among(kFirst, first) && !among(kAveraged, first)) return "";
    if (shared.empty()) shared = first;
    if (shared != first) return "";
  }
  return shared;
}

void leave_averaged_out(UnwrappedNames& result) {
  const auto averaged = [](const std::string& name) { return among(kAveraged, first_of(name)); };
  const auto raw = [&](const std::string& name) { return !name.empty() && !averaged(name); };
  if (std::none_of(result.names.begin(), result.names.end(), averaged) ||
      std::none_of(result.names.begin(), result.names.end(), raw))
    return;
  for (std::string& name : result.names) {
    if (!averaged(name)) continue;
    result.left = first_of(name);
    name.clear();
  }
  result.taken = "the raw weights";
}

}  // namespace

UnwrappedNames unwrapped(const std::vector<std::string>& names, const std::string& path) {
  UnwrappedNames result;
  for (const std::string& name : names) result.names.push_back(without_components(name));
  leave_averaged_out(result);
  for (std::string first = shared_first(result.names); !first.empty(); first = shared_first(result.names))
    for (std::string& name : result.names)
      if (!name.empty()) name.erase(0, first.size() + 1);
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (result.names[i].empty()) continue;
    const auto [other, fresh] = seen.emplace(result.names[i], i);
    if (!fresh)
      throw Error(ErrorKind::kInvalid,
                  path + ": '" + printable(names[other->second], 100) + "' and '" + printable(names[i], 100) +
                      "' are the same tensor in different wrappers",
                  "keep one of the copies");
  }
  return result;
}

}  // namespace trireme::worker::checkpoint
