// Lenient access to members of a JSON object. Included by .cpp files only.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace trireme::coordinator::cli {

inline std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

template <class Number>
Number number_of(const nlohmann::json& object, const char* key, Number otherwise = 0) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<Number>() : otherwise;
}

inline bool flag_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

inline nlohmann::json object_from(std::string_view text, const std::string& what) {
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_object()) throw Error(ErrorKind::kDamaged, what + " is not a JSON object");
  return parsed;
}

}  // namespace trireme::coordinator::cli
