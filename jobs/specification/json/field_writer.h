// Visitor that turns a described struct into JSON with every field present (absent optionals as null).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "jobs/specification/json/json_document.h"
#include "jobs/specification/stages/stage_spec.h"

namespace trireme::jobs {

class FieldWriter {
 public:
  template <class T>
  void field(const char* name, T& value, const FieldRules& rules = {}) {
    if constexpr (std::is_same_v<std::remove_const_t<T>, std::string>)
      if (rules.quiet && (value.empty() || value == "auto")) return;
    object_.set(name, json_of(value));
  }
  Json take() { return std::move(object_); }

  // By value: visit() takes members that may be written to.
  static Json json_of(bool value) { return Json(value); }
  static Json json_of(std::int64_t value) { return Json(value); }
  static Json json_of(double value) { return Json(value); }
  static Json json_of(const std::string& value) { return Json(value); }
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
    stage.visit_head(writer);
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

 private:
  Json object_ = Json::object();
};

}  // namespace trireme::jobs
