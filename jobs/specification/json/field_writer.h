// Visitor that turns a described struct into JSON with every field present (absent optionals as null), but
// for quiet fields that say nothing: what a stored result was computed from keeps its text when fields are
// added.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "common/base/enum_names.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/stages/stage_spec.h"

namespace trireme::jobs {

class FieldWriter {
 public:
  template <class T>
  void field(const char* name, T& value, const FieldRules& rules = {}) {
    Json written = json_of(value);
    if (!rules.quiet || !is_nothing(written)) object_.set(name, std::move(written));
  }
  Json take() { return std::move(object_); }

  // By value: visit() takes members that may be written to.
  static Json json_of(bool value) { return Json(value); }
  static Json json_of(std::int64_t value) { return Json(value); }
  static Json json_of(double value) { return Json(value); }
  static Json json_of(const std::string& value) { return Json(value); }
  template <NamedEnum Enum>
  static Json json_of(Enum value) {
    return Json(name_of(value));
  }
  template <class T>
  static Json json_of(const std::optional<T>& value) {
    return value ? json_of(*value) : Json();
  }
  template <class T>
  static Json json_of(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T& value : values) list.push(json_of(value));
    return list;
  }
  template <class T>
  static Json json_of(const std::map<std::string, T>& values) {
    Json object = Json::object();
    for (const auto& [key, value] : values) object.set(key, json_of(value));
    return object;
  }
  static Json json_of(StageSpec stage) {
    FieldWriter writer;
    std::string kind = stage.kind();
    stage.visit_head(writer, kind);
    std::visit([&](auto& settings) { settings.visit(writer); }, stage.settings);
    return writer.take();
  }
  template <class T>
  static Json json_of(T value) requires requires(T t, FieldWriter& v) {
    t.visit(v);
  }
  {
    FieldWriter writer;
    value.visit(writer);
    return writer.take();
  }

  // What a quiet field is not written with.
  static bool is_nothing(const Json& value) {
    return value.is(Json::Type::kNull) || (value.is(Json::Type::kBool) && !value.boolean) ||
           (value.is(Json::Type::kString) && (value.text.empty() || value.text == "auto")) ||
           (value.is(Json::Type::kArray) && value.items.empty());
  }

 private:
  Json object_ = Json::object();
};

}  // namespace trireme::jobs
