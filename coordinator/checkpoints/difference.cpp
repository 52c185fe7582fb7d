#include "coordinator/checkpoints/difference.h"

#include <map>

#include <nlohmann/json.hpp>

namespace trireme::coordinator::checkpoints {
namespace {

using nlohmann::json;

const json& member(const json& object, const std::string& name) {
  static const json kNothing;
  return object.is_object() && object.contains(name) ? object.at(name) : kNothing;
}

void flatten_into(std::map<std::string, std::string>& to, const std::string& name, const json& value) {
  if (value.is_structured() && !value.empty()) {
    for (const auto& [key, inner] : value.items())
      flatten_into(to, name.empty() ? key : name + "." + key, inner);
  } else if (!value.is_null()) {
    to[name] = value.dump();
  }
}

// Everything that the stage names.
std::map<std::string, std::string> settings_of(std::string_view text, const std::string& stage) {
  std::map<std::string, std::string> settings;
  const json document = json::parse(text, nullptr, false);
  const json& spec = member(document, "spec");
  for (const auto& one : member(spec, "stages")) {
    if (member(one, "name") != stage) continue;
    flatten_into(settings, "", one);
    settings.erase("name");
    if (const json& model = member(one, "model"); model.is_string())
      flatten_into(settings, "model", member(member(spec, "models"), model.get<std::string>()));
    if (const json& data = member(one, "data"); data.is_string())
      flatten_into(settings, "data." + data.get<std::string>(),
                   member(member(spec, "data"), data.get<std::string>()));
  }
  return settings;
}

}  // namespace

std::vector<Difference> differences(std::string_view was, std::string_view now, const std::string& stage) {
  const auto before = settings_of(was, stage), after = settings_of(now, stage);
  std::vector<Difference> found;
  for (const auto& [name, value] : before) {
    const auto other = after.find(name);
    if (other == after.end() || other->second != value)
      found.push_back({name, value, other == after.end() ? "" : other->second});
  }
  for (const auto& [name, value] : after)
    if (!before.contains(name)) found.push_back({name, "", value});
  return found;
}

}  // namespace trireme::coordinator::checkpoints
