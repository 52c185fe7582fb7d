#include "worker/text/html_entities.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <vector>

#include "worker/text/html_names.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

struct Entity {
  std::string_view name;
  std::string text;
  bool without_semicolon = false;
};

// Sorted by name, as html_names() is.
std::vector<Entity> make_entities() {
  std::vector<Entity> entities;
  const std::string_view all = html_names();
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t end = std::min(all.find_first_of(" \n", at), all.size());
    const std::string_view word = all.substr(at, end - at);
    const std::size_t sign = word.find_first_of("=!");
    Entity entity{word.substr(0, sign), "", word[sign] == '!'};
    for (std::size_t digit = sign + 1; digit < word.size();) {
      std::int32_t code_point = 0;
      const auto parsed = std::from_chars(word.data() + digit, word.data() + word.size(), code_point, 16);
      append_code_point(entity.text, code_point);
      digit = static_cast<std::size_t>(parsed.ptr - word.data()) + 1;
    }
    entities.push_back(std::move(entity));
    at = end + 1;
  }
  return entities;
}

// What the numbers 0x80 to 0x9f mean in practice (windows-1252).
constexpr std::array<std::int32_t, 32> kC1{0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021,
                                           0x2c6,  0x2030, 0x160,  0x2039, 0x152,  0x8d,   0x17d,  0x8f,
                                           0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                           0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};

const Entity* find_entity(std::string_view name) {
  static const std::vector<Entity> entities = make_entities();
  const auto found = std::ranges::lower_bound(entities, name, {}, &Entity::name);
  return found != entities.end() && found->name == name ? &*found : nullptr;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
int digit_value(char c) {
  return is_digit(c) ? c - '0' : (c | 32) - 'a' + 10;
}

// -1: the reference stands for nothing (control characters and noncharacters).
std::int32_t numbered(std::int64_t number) {
  if (number >= 0x80 && number <= 0x9f) return kC1[static_cast<std::size_t>(number - 0x80)];
  if (number == 0 || (number >= 0xd800 && number <= 0xdfff) || number > 0x10ffff) return 0xfffd;
  if (number == 0xd) return 0xd;
  const bool control = number < 0x20 && number != 9 && number != 10 && number != 12;
  const bool invalid =
      control || number == 0x7f || (number >= 0xfdd0 && number <= 0xfdef) || (number & 0xfffe) == 0xfffe;
  return invalid ? -1 : static_cast<std::int32_t>(number);
}

// Bytes consumed after '&' (0: not a reference); appends what it stands for.
std::size_t unescape_number(std::string_view after, std::string& out) {
  const bool hex = after.size() > 1 && (after[1] == 'x' || after[1] == 'X');
  const std::size_t first = hex ? 2 : 1;
  std::size_t at = first;
  std::int64_t number = 0;
  for (; at < after.size() && (hex ? is_hex_digit(after[at]) : is_digit(after[at])); ++at)
    number = std::min<std::int64_t>(number * (hex ? 16 : 10) + digit_value(after[at]), 0x7fffffff);
  if (at == first) return 0;
  const std::int32_t code_point = numbered(number);
  if (code_point >= 0) append_code_point(out, code_point);
  return at < after.size() && after[at] == ';' ? at + 1 : at;
}

std::size_t unescape_name(std::string_view after, std::string& out) {
  std::size_t end = 0;
  while (end < after.size() && end < 32 &&
         (is_digit(after[end]) || ((after[end] | 32) >= 'a' && (after[end] | 32) <= 'z')))
    ++end;
  const Entity* const whole = find_entity(after.substr(0, end));
  if (whole != nullptr && end < after.size() && after[end] == ';') {
    out += whole->text;
    return end + 1;
  }
  for (std::size_t length = end; length > 1; --length) {
    const Entity* const prefix = find_entity(after.substr(0, length));
    if (prefix == nullptr || !prefix->without_semicolon) continue;
    out += prefix->text;
    return length;
  }
  return 0;
}

}  // namespace

std::string unescape_html(std::string_view utf8) {
  std::string out;
  out.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t mark = std::min(utf8.find('&', at), utf8.size());
    out.append(utf8.substr(at, mark - at));
    if (mark == utf8.size()) break;
    const std::string_view after = utf8.substr(mark + 1);
    const std::size_t used =
        !after.empty() && after[0] == '#' ? unescape_number(after, out) : unescape_name(after, out);
    if (used == 0) out += '&';
    at = mark + 1 + used;
  }
  return out;
}

}  // namespace trireme::worker::text
