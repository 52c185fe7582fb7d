// A strict JSON reader for text that people and strangers write: duplicate keys, NaN, lone surrogates,
// invalid UTF-8, NUL, integers above 2^53, numbers beyond a double, deep nesting and trailing text are faults
// with a JSON pointer, and the reader goes on after those it can pass over. Keys keep the order of the text.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jobs/specification/json/fault.h"

namespace trireme::jobs {

struct Json {
  enum class Type { kNull, kBool, kInteger, kNumber, kString, kArray, kObject, kBroken };

  Json() = default;
  Json(bool value) : type(Type::kBool), boolean(value) {}
  Json(int value) : Json(static_cast<std::int64_t>(value)) {}
  Json(std::int64_t value) : type(Type::kInteger), integer(value), number(static_cast<double>(value)) {}
  Json(double value) : type(Type::kNumber), number(value) {}
  Json(const char* value) : type(Type::kString), text(value) {}
  Json(std::string value) : type(Type::kString), text(std::move(value)) {}
  Json(std::string_view value) : type(Type::kString), text(value) {}
  static Json array() { return of(Type::kArray); }
  static Json object() { return of(Type::kObject); }

  Json& set(std::string key, Json value);  // replaces or appends; returns *this
  Json& push(Json value);
  void erase(std::string_view key);              // of an object; nothing when absent
  const Json* find(std::string_view key) const;  // nullptr when absent or no object
  Json* find(std::string_view key);
  bool is(Type wanted) const { return type == wanted; }

  Type type = Type::kNull;  // kBroken: already reported, read it as nothing
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;                // of integers too
  std::string text;                 // of a string; the bare text of a value that came from --set
  std::vector<std::string> keys;    // objects: same length as items
  std::vector<Json> items;          // arrays and objects
  std::size_t position = 0;         // bytes from the start of the text
  std::ptrdiff_t override_at = -1;  // index of the --set it came from

 private:
  static Json of(Type type);
};

struct JsonLimits {
  std::size_t bytes = std::size_t{1} << 20;
  std::size_t depth = 32;
};

// The root; faults are appended. After a "syntax", "too_large" or "too_deep" fault the root is incomplete.
Json parse_json(std::string_view text, std::vector<SpecFault>& faults, const JsonLimits& limits = {});

// indent < 0: compact. Doubles in the shortest form that reads back to the same bits.
std::string dump_json(const Json& value, int indent = -1);

// "an object", "the string \"3\"" …, for messages.
std::string describe_json(const Json& value);

// One more token of a JSON pointer: "/" and the name with ~ and / escaped (RFC 6901).
std::string pointer_token(std::string_view name);

// The value at a pointer, or its nearest parent that exists.
const Json& nearest_at(const Json& root, std::string_view pointer);

}  // namespace trireme::jobs
