// Visitor that fills a described struct from JSON: type, range, choices, required and unknown keys are
// checked here, and every fault is appended with its pointer. Several structs may share one object (a stage
// and its settings); finish() then reports the keys that none of them knows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "common/base/enum_names.h"
#include "jobs/specification/data_spec.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/json/names.h"
#include "jobs/specification/stages/stage_spec.h"

namespace trireme::jobs {

class FieldReader;

namespace reading {

// What is read, where it stands, and where faults go.
struct Place {
  const Json& value;
  std::string pointer;
  std::vector<SpecFault>& faults;

  void fault(const std::string& code, const std::string& detail, const std::string& hint = "") const {
    add_fault(faults, {pointer, code, detail, hint});
  }
  Place at(const Json& child, const std::string& token) const {
    return {child, pointer + pointer_token(token), faults};
  }
};

// True when the type is right; else reports it (a broken value was reported by the parser).
bool expect(const Place& place, Json::Type type, const char* wanted);
// The value, or the limit that it breaks, after its fault: the checks that follow divide by some fields.
double within(const Place& place, double value, const FieldRules& rules);
// False: it is longer than anything that is read on.
bool check_length(const Place& place, std::size_t length, const char* unit, const FieldRules& rules);

void read(const Place& place, bool& value, const FieldRules& rules);
void read(const Place& place, std::int64_t& value, const FieldRules& rules);
void read(const Place& place, double& value, const FieldRules& rules);
void read(const Place& place, std::string& value, const FieldRules& rules);
template <NamedEnum Enum>
void read(const Place& place, Enum& value, const FieldRules& rules);
void read(const Place& place, DataSpec& value, const FieldRules& rules);
void read(const Place& place, StageSpec& value, const FieldRules& rules);
void read(const Place& place, Json& value, const FieldRules& rules);  // as it stands
template <class T>
void read(const Place& place, std::optional<T>& value, const FieldRules& rules);
template <class T>
void read(const Place& place, std::vector<T>& value, const FieldRules& rules);
template <class T>
void read(const Place& place, std::map<std::string, T>& value, const FieldRules& rules);
template <class T>
void read(const Place& place, T& value, const FieldRules& rules) requires requires(T t, FieldReader& v) {
  t.visit(v);
};

}  // namespace reading

class FieldReader {
 public:
  explicit FieldReader(const reading::Place& object) : object_(object) {}

  template <class T>
  void field(const char* name, T& value, const FieldRules& rules = {}) {
    known_.emplace_back(name);
    if (const Json* found = object_.value.find(name)) {
      reading::read(object_.at(*found, name), value, rules);
    } else if (rules.required) {
      missing(name, rules);
    }
  }

  void finish() const;

 private:
  void missing(const char* name, const FieldRules& rules) const;

  reading::Place object_;
  std::vector<std::string> known_;
};

namespace reading {

template <NamedEnum Enum>
void read(const Place& place, Enum& value, const FieldRules& rules) {
  FieldRules of_name = rules;
  if (of_name.choices.empty())
    for (const std::string_view name : names_of(Enum{})) of_name.choices.emplace_back(name);
  std::string name(name_of(value));
  read(place, name, of_name);
  value = from_name<Enum>(name).value_or(value);
}

template <class T>
void read(const Place& place, std::optional<T>& value, const FieldRules& rules) {
  if (place.value.is(Json::Type::kNull)) {
    value.reset();
  } else {
    T present{};
    read(place, present, rules);
    value = std::move(present);
  }
}

template <class T>
void read(const Place& place, std::vector<T>& value, const FieldRules& rules) {
  if (!expect(place, Json::Type::kArray, "a list")) return;
  value.clear();
  if (!check_length(place, place.value.items.size(), "entries", rules)) return;
  for (std::size_t i = 0; i < place.value.items.size(); ++i) {
    T item{};
    read(place.at(place.value.items[i], std::to_string(i)), item, {});
    value.push_back(std::move(item));
  }
}

template <class T>
void read(const Place& place, std::map<std::string, T>& value, const FieldRules& rules) {
  if (!expect(place, Json::Type::kObject, "an object")) return;
  value.clear();
  if (!check_length(place, place.value.items.size(), "entries", rules)) return;
  for (std::size_t i = 0; i < place.value.items.size(); ++i)
    read(place.at(place.value.items[i], place.value.keys[i]), value[place.value.keys[i]], {});
}

template <class T>
void read(const Place& place, T& value, const FieldRules&) requires requires(T t, FieldReader& v) {
  t.visit(v);
}
{
  if (!expect(place, Json::Type::kObject, "an object")) return;
  FieldReader reader(place);
  value.visit(reader);
  reader.finish();
}

}  // namespace reading
}  // namespace trireme::jobs
