// JSON Schema (draft 7) from the same descriptions that read the job file.
#include <cmath>

#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/field_writer.h"

namespace trireme::jobs {
namespace {

template <class T>
Json schema_of(const T& initial);

Json type_schema(const char* type) {
  return Json::object().set("type", type);
}

Json bound(double value) {
  return std::floor(value) == value && std::abs(value) <= 9007199254740992.0
             ? Json(static_cast<std::int64_t>(value))
             : Json(value);
}

void set_limits(Json& schema, const FieldRules& rules, const char* least, const char* most) {
  if (std::isfinite(rules.least)) schema.set(least, bound(rules.least));
  if (std::isfinite(rules.most)) schema.set(most, bound(rules.most));
}

template <class Names>
Json list_of(const Names& names) {
  Json list = Json::array();
  for (const auto& name : names) list.push(Json(name));
  return list;
}

Json value_schema(bool, const FieldRules&) {
  return type_schema("boolean");
}

Json value_schema(std::int64_t, const FieldRules& rules) {
  Json schema = type_schema("integer");
  set_limits(schema, rules, "minimum", "maximum");
  return schema;
}

Json value_schema(double, const FieldRules& rules) {
  Json schema = type_schema("number");
  set_limits(schema, rules, "minimum", "maximum");
  return schema;
}

Json value_schema(const std::string&, const FieldRules& rules) {
  Json schema = type_schema("string");
  if (!rules.choices.empty()) return schema.set("enum", list_of(rules.choices));
  set_limits(schema, rules, "minLength", "maxLength");
  return schema;
}

template <NamedEnum Enum>
Json value_schema(const Enum&, const FieldRules& rules) {
  return type_schema("string").set(
      "enum", rules.choices.empty() ? list_of(names_of(Enum{})) : list_of(rules.choices));
}

Json value_schema(const DataSpec& initial, const FieldRules& rules);
Json value_schema(const StageSpec& initial, const FieldRules& rules);

template <class T>
Json value_schema(const T& initial, const FieldRules&) {
  return schema_of(initial);
}

template <class T>
Json value_schema(const std::optional<T>& initial, const FieldRules& rules) {
  Json schema = value_schema(initial.value_or(T{}), rules);
  schema.set("type", Json::array().push(*schema.find("type")).push("null"));
  return schema;
}

template <class T>
Json value_schema(const std::vector<T>&, const FieldRules& rules) {
  Json schema = type_schema("array");
  schema.set("items", value_schema(T{}, {}));
  set_limits(schema, rules, "minItems", "maxItems");
  return schema;
}

template <class T>
Json value_schema(const std::map<std::string, T>&, const FieldRules& rules) {
  Json schema = type_schema("object");
  schema.set("additionalProperties", value_schema(T{}, {}));
  set_limits(schema, rules, "minProperties", "maxProperties");
  return schema;
}

class FieldSchemas {
 public:
  template <class T>
  void field(const char* name, T& value, const FieldRules& rules = {}) {
    Json schema = value_schema(value, rules);
    if (rules.help[0] != 0) schema.set("description", rules.help);
    if (rules.required) {
      required_.push(Json(name));
    } else if (const Json initial = FieldWriter::json_of(value); !initial.is(Json::Type::kObject)) {
      schema.set("default", initial);
    }
    properties_.set(name, std::move(schema));
  }

  void fix(const char* name, const std::string& value) {
    properties_.find(name)->set("enum", Json::array().push(Json(value)));
  }

  Json take() {
    Json schema = type_schema("object");
    schema.set("properties", std::move(properties_));
    if (!required_.items.empty()) schema.set("required", std::move(required_));
    return schema.set("additionalProperties", Json(false));
  }

 private:
  Json properties_ = Json::object(), required_ = Json::array();
};

template <class T>
Json schema_of(const T& initial) {
  T copy = initial;
  FieldSchemas fields;
  copy.visit(fields);
  return fields.take();
}

Json value_schema(const DataSpec&, const FieldRules&) {
  DataSpec data;
  SourceSpec source;
  FieldSchemas one_source;
  source.visit(one_source);
  data.visit_common(one_source);
  Json forms = Json::array();
  forms.push(type_schema("string").set("minLength", 1).set("description", "path of the only source"));
  Json either = Json::array();
  for (const char* name : {"path", "synthetic"})
    either.push(Json::object().set("required", Json::array().push(Json(name))));
  forms.push(one_source.take().set("anyOf", either).set("description", "one source"));
  forms.push(schema_of(data).set("description", "several sources"));
  return Json::object().set("anyOf", forms);
}

template <std::size_t I = 0>
void add_kinds(Json& kinds) {
  if constexpr (I < std::variant_size_v<StageSettings>) {
    StageSpec stage;
    std::variant_alternative_t<I, StageSettings> settings;
    FieldSchemas fields;
    std::string kind;
    stage.visit_head(fields, kind);
    fields.fix("kind", stage_kinds()[I]);
    settings.visit(fields);
    kinds.push(fields.take());
    add_kinds<I + 1>(kinds);
  }
}

Json value_schema(const StageSpec&, const FieldRules&) {
  Json kinds = Json::array();
  add_kinds(kinds);
  return Json::object().set("anyOf", kinds);
}

}  // namespace

std::string job_schema() {
  Json schema = Json::object();
  schema.set("$schema", "http://json-schema.org/draft-07/schema#");
  schema.set("title", "Trireme job");
  for (Json rest = schema_of(JobSpec{}); std::size_t i : {0U, 1U, 2U, 3U})
    if (i < rest.keys.size()) schema.set(rest.keys[i], rest.items[i]);
  return dump_json(schema, 2) + "\n";
}

}  // namespace trireme::jobs
