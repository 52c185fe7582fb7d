#include "jobs/specification/json/field_reader.h"

#include <algorithm>
#include <cmath>

#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

constexpr double kMostWhole = 9007199254740992.0;  // 2^53: every whole number up to it is a double

std::string plain(double value) {
  return dump_json(Json(value));
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string did_you_mean(std::string_view given, const std::vector<std::string>& known) {
  const std::string near = nearest_name(given, known);
  return near.empty() ? "" : "did you mean \"" + near + "\"?";
}

}  // namespace

namespace reading {

bool expect(const Place& place, Json::Type type, const char* wanted) {
  if (place.value.is(type)) return true;
  if (!place.value.is(Json::Type::kBroken))
    place.fault("wrong_type", std::string("expected ") + wanted + ", found " + describe_json(place.value));
  return false;
}

double within(const Place& place, double value, const FieldRules& rules) {
  if (value >= rules.least && value <= rules.most) return value;
  const std::string limit = value < rules.least ? "is below the least value " + plain(rules.least)
                                                : "is above the largest value " + plain(rules.most);
  place.fault("out_of_range", plain(value) + " " + limit, *rules.help != 0 ? rules.help : "");
  return std::clamp(value, rules.least, rules.most);
}

bool check_length(const Place& place, std::size_t length, const char* unit, const FieldRules& rules) {
  const auto size = static_cast<double>(length);
  if (size >= rules.least && size <= rules.most) return true;
  place.fault("out_of_range",
              "has " + std::to_string(length) + " " + unit + ", " +
                  (size < rules.least ? "at least " + plain(rules.least) : "at most " + plain(rules.most)) +
                  " wanted",
              rules.help);
  return size < rules.least;
}

void read(const Place& place, bool& value, const FieldRules&) {
  if (expect(place, Json::Type::kBool, "true or false")) value = place.value.boolean;
}

void read(const Place& place, std::int64_t& value, const FieldRules& rules) {
  const double number = place.value.number;
  const bool whole =
      place.value.is(Json::Type::kInteger) ||
      (place.value.is(Json::Type::kNumber) && std::floor(number) == number && std::abs(number) <= kMostWhole);
  if (!whole) {
    expect(place, Json::Type::kInteger, "a whole number");
    return;
  }
  value = static_cast<std::int64_t>(within(place, number,
                                           {.help = rules.help,
                                            .least = std::max(rules.least, -kMostWhole),
                                            .most = std::min(rules.most, kMostWhole)}));
}

void read(const Place& place, double& value, const FieldRules& rules) {
  if (!place.value.is(Json::Type::kInteger) && !expect(place, Json::Type::kNumber, "a number")) return;
  value = within(place, place.value.number, rules);
}

void read(const Place& place, std::string& value, const FieldRules& rules) {
  const bool bare = place.value.override_at >= 0 && !place.value.text.empty();  // --set name=123
  if (!bare && !expect(place, Json::Type::kString, "a string")) return;
  value = place.value.text;
  if (rules.choices.empty()) {
    check_length(place, value.size(), "characters",
                 {.help = rules.help, .least = rules.least, .most = std::min(rules.most, 4096.0)});
  } else if (std::ranges::find(rules.choices, value) == rules.choices.end()) {
    const std::string hint = did_you_mean(value, rules.choices);
    place.fault("unknown_name", "\"" + printable(value, 64) + "\" is none of: " + listed(rules.choices),
                hint);
  }
}

// "PATH", {"path": …, "select": …} (one source) or {"sources": […], …}.
void read(const Place& place, DataSpec& value, const FieldRules&) {
  if (place.value.is(Json::Type::kString)) {
    value.sources.emplace_back();
    read(place, value.sources[0].path, {.least = 1});
    return;
  }
  if (!expect(place, Json::Type::kObject, "a path or an object")) return;
  FieldReader reader(place);
  if (place.value.find("path") != nullptr || place.value.find("synthetic") != nullptr) {
    value.sources.emplace_back().visit(reader);
    value.visit_common(reader);
  } else {
    value.visit(reader);
  }
  reader.finish();
}

namespace {

template <std::size_t I = 0>
bool choose(StageSettings& settings, std::string_view kind) {
  if constexpr (I == std::variant_size_v<StageSettings>) {
    return false;
  } else if (stage_kinds()[I] == kind) {
    settings.emplace<I>();
    return true;
  } else {
    return choose<I + 1>(settings, kind);
  }
}

}  // namespace

void read(const Place& place, Json& value, const FieldRules&) {
  value = place.value;
}

void read(const Place& place, StageSpec& value, const FieldRules&) {
  if (!expect(place, Json::Type::kObject, "an object")) return;
  FieldReader reader(place);
  std::string kind;
  value.visit_head(reader, kind);
  value.readable = choose(value.settings, kind);
  if (!value.readable) return;  // reported; its settings cannot be told
  std::visit([&](auto& settings) { settings.visit(reader); }, value.settings);
  reader.finish();
}

}  // namespace reading

void FieldReader::missing(const char* name, const FieldRules& rules) const {
  object_.at(object_.value, name).fault("missing", "\"" + std::string(name) + "\" is required", rules.help);
}

void FieldReader::finish() const {
  for (std::size_t i = 0; i < object_.value.keys.size(); ++i) {
    const std::string& key = object_.value.keys[i];
    if (std::ranges::find(known_, key) != known_.end()) continue;
    const bool counted = listed_in_full(object_.faults);
    const std::string hint = counted ? "" : did_you_mean(key, known_);
    object_.at(object_.value.items[i], key)
        .fault("unknown_key", "unknown key \"" + printable(key, 64) + "\"",
               hint.empty() ? "known keys: " + listed(known_) : hint);
  }
}

}  // namespace trireme::jobs
