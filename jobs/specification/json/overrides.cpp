#include "jobs/specification/json/overrides.h"

#include <algorithm>
#include <limits>

#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

// Faults in overrides come after those in the file, in the order given.
constexpr std::size_t kAfterTheText = std::numeric_limits<std::size_t>::max() / 2;

void mark(Json& value, std::size_t which) {
  value.position = kAfterTheText + which;
  value.override_at = static_cast<std::ptrdiff_t>(which);
  for (Json& item : value.items) mark(item, which);
}

Json value_of(const std::string& text, std::size_t which) {
  std::vector<SpecFault> faults;
  Json value = parse_json(text, faults);
  if (!faults.empty()) value = Json(text);
  mark(value, which);
  if (!value.is(Json::Type::kArray) && !value.is(Json::Type::kObject) && !value.is(Json::Type::kString))
    value.text = text;
  return value;
}

// The list entry that a token names; nullptr when none, with what could have been meant.
Json* entry(Json& list, const std::string& token, std::string& hint) {
  if (!token.empty() && token.size() < 7 &&
      std::ranges::all_of(token, [](char c) { return c >= '0' && c <= '9'; })) {
    const std::size_t index = std::stoul(token);
    hint = "the list has " + std::to_string(list.items.size()) + " entries, counted from 0";
    return index < list.items.size() ? &list.items[index] : nullptr;
  }
  std::vector<std::string> names;
  for (Json& item : list.items)
    if (const Json* name = item.find("name"); name != nullptr && name->is(Json::Type::kString)) {
      if (name->text == token) return &item;
      names.push_back(name->text);
    }
  const std::string near = nearest_name(token, names);
  hint = near.empty() ? "name an entry by its number or its name" : "did you mean \"" + near + "\"?";
  return nullptr;
}

// One step down; makes what is missing. nullptr: impossible.
Json* step(Json& here, const std::string& token, std::size_t which, bool data_set, std::string& hint) {
  if (here.is(Json::Type::kArray)) return entry(here, token, hint);
  if (data_set && here.is(Json::Type::kString)) {  // a path on its own becomes {"path": …}
    Json object = Json::object();
    object.set("path", here);
    object.position = here.position;
    object.override_at = here.override_at;
    here = std::move(object);
  }
  if (here.is(Json::Type::kNull)) {
    here = Json::object();
    mark(here, which);
  }
  if (!here.is(Json::Type::kObject)) {
    hint = "its parent is " + describe_json(here);
    return nullptr;
  }
  if (here.find(token) == nullptr) {
    Json fresh;
    mark(fresh, which);
    here.set(token, std::move(fresh));
  }
  return here.find(token);
}

void apply(Json& root, const std::string& text, std::size_t which, std::vector<SpecFault>& faults) {
  const std::size_t equals = text.find('=');
  const auto reject = [&](const std::string& why, const std::string& hint) {
    add_fault(faults, {"", "override", "--set " + printable(text, 200) + ": " + why, hint});
  };
  if (equals == 0 || equals == std::string::npos)
    return reject("expected path=value", "for example --set spec.task_samples=64");
  const std::string path = text.substr(0, equals);
  Json* here = &root;
  std::size_t depth = 0;
  for (std::size_t at = 0; at <= path.size(); ++depth) {
    const std::size_t end = std::min(path.find('.', at), path.size());
    const std::string token = path.substr(at, end - at);
    std::string hint;
    if (token.empty() || depth >= 32) return reject("the path has an empty or too deep part", "");
    const bool data_set = depth == 3 && path.rfind("spec.data.", 0) == 0;
    here = step(*here, token, which, data_set, hint);
    if (here == nullptr) return reject("there is no \"" + token + "\" to set", hint);
    at = end + 1;
  }
  *here = value_of(text.substr(equals + 1), which);
}

}  // namespace

void apply_overrides(Json& root, const std::vector<std::string>& overrides, std::vector<SpecFault>& faults) {
  for (std::size_t i = 0; i < overrides.size(); ++i) apply(root, overrides[i], i, faults);
}

}  // namespace trireme::jobs
