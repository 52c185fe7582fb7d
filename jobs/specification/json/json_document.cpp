#include "jobs/specification/json/json_document.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "common/base/log.h"

namespace trireme::jobs {
namespace {

constexpr std::int64_t kLargestExact = std::int64_t{1} << 53;

void append_string(std::string& out, std::string_view text) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const unsigned code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (code < 0x20) {
      out += "\\u00";
      out += kHex[code >> 4];
      out += kHex[code & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

template <class Number>
void append_number(std::string& out, Number value) {
  std::array<char, 40> buffer{};
  auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  if constexpr (std::is_floating_point_v<Number>)
    if (std::abs(value) >= static_cast<double>(kLargestExact))  // 1e+20 must not read back as an integer
      end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific)
                .ptr;
  out.append(buffer.data(), end);
}

bool is_leaf(const Json& value) {
  return !value.is(Json::Type::kArray) && !value.is(Json::Type::kObject);
}

void append(std::string& out, const Json& value, int indent, int depth) {
  const bool object = value.is(Json::Type::kObject);
  switch (value.type) {
    case Json::Type::kBool:
      out += value.boolean ? "true" : "false";
      return;
    case Json::Type::kInteger:
      append_number(out, value.integer);
      return;
    case Json::Type::kNumber:
      append_number(out, value.number);
      return;
    case Json::Type::kString:
      append_string(out, value.text);
      return;
    case Json::Type::kArray:
    case Json::Type::kObject:
      break;
    default:
      out += "null";
      return;
  }
  const bool one_line =
      indent < 0 || value.items.empty() || (!object && std::ranges::all_of(value.items, is_leaf));
  const auto new_line = [&](int levels) {
    if (one_line) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(levels), ' ');
  };
  out += object ? '{' : '[';
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    if (i > 0) out += one_line && indent >= 0 ? ", " : ",";
    new_line(depth + 1);
    if (object) {
      append_string(out, value.keys[i]);
      out += indent < 0 ? ":" : ": ";
    }
    append(out, value.items[i], indent, depth + 1);
  }
  new_line(depth);
  out += object ? '}' : ']';
}

}  // namespace

Json Json::of(Type type) {
  Json result;
  result.type = type;
  return result;
}

Json& Json::set(std::string key, Json value) {
  if (Json* present = find(key)) {
    *present = std::move(value);
  } else {
    keys.push_back(std::move(key));
    items.push_back(std::move(value));
  }
  return *this;
}

Json& Json::push(Json value) {
  items.push_back(std::move(value));
  return *this;
}

void Json::erase(std::string_view key) {
  const auto found = std::find(keys.begin(), keys.end(), key);
  if (found == keys.end()) return;
  items.erase(items.begin() + (found - keys.begin()));
  keys.erase(found);
}

const Json* Json::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key) return &items[i];
  return nullptr;
}

Json* Json::find(std::string_view key) {
  return const_cast<Json*>(std::as_const(*this).find(key));
}

std::string dump_json(const Json& value, int indent) {
  std::string out;
  append(out, value, indent, 0);
  return out;
}

std::string describe_json(const Json& value) {
  switch (value.type) {
    case Json::Type::kNull:
      return "null";
    case Json::Type::kArray:
      return "a list";
    case Json::Type::kObject:
      return "an object";
    case Json::Type::kString:
      return "the string \"" + printable(value.text, 64) + "\"";
    case Json::Type::kInteger:
    case Json::Type::kNumber:
      return "the number " + dump_json(value);
    default:
      return dump_json(value);
  }
}

std::string pointer_token(std::string_view name) {
  std::string out = "/";
  for (const char c : name)
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  return out;
}

const Json& nearest_at(const Json& root, std::string_view pointer) {
  const Json* here = &root;
  while (!pointer.empty()) {
    const std::size_t end = std::min(pointer.find('/', 1), pointer.size());
    const std::string_view token = pointer.substr(0, end);
    const Json* next = nullptr;
    for (std::size_t i = 0; i < here->items.size() && next == nullptr; ++i) {
      const bool object = here->is(Json::Type::kObject);
      if (token == (object ? pointer_token(here->keys[i]) : "/" + std::to_string(i))) next = &here->items[i];
    }
    if (next == nullptr) break;
    here = next;
    pointer.remove_prefix(end);
  }
  return *here;
}

}  // namespace trireme::jobs
