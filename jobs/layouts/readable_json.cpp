#include "jobs/layouts/readable_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace trireme::jobs {
namespace {

constexpr std::string_view kNumber = "+-.0123456789eE";
constexpr std::size_t kShortNumber = 18;  // digits of which every integer fits

bool is_digit(char one) {
  return one >= '0' && one <= '9';
}

// Whether a look at every token is needed; seldom more than once too often.
bool may_be_odd(std::string_view json) {
  std::size_t run = 0;
  for (std::size_t at = 0; at < json.size(); ++at) {
    const char one = json[at];
    if (is_digit(one)) {
      if (++run > kShortNumber) return true;
      continue;
    }
    if (run > 0 && (one == 'e' || one == 'E')) return true;
    run = 0;
    if (one == '\\' && at + 2 < json.size() && json[at + 1] == 'u' &&
        (json[at + 2] == 'd' || json[at + 2] == 'D'))
      return true;
  }
  return json.find("NaN") != std::string_view::npos || json.find("Infinity") != std::string_view::npos;
}

// A whole number beyond 64 bits gets the point that makes it a double; what no double holds is null.
std::string readable_number(std::string_view token) {
  const std::string text(token);
  if (token.size() <= kShortNumber && token.find_first_of("eE") == std::string_view::npos) return text;
  if (!std::isfinite(std::strtod(text.c_str(), nullptr))) return "null";
  if (token.find_first_of(".eE") != std::string_view::npos) return text;
  const char* const end = token.data() + token.size();
  std::uint64_t large = 0;
  std::int64_t small = 0;
  const bool fits = std::from_chars(token.data(), end, large).ec == std::errc() ||
                    std::from_chars(token.data(), end, small).ec == std::errc();
  return fits ? text : text + ".0";
}

// "\uXXXX" at the front, or 0.
unsigned code_unit(std::string_view text) {
  unsigned unit = 0;
  if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + 6, unit, 16);
  return error == std::errc() && end == text.data() + 6 ? unit : 0;
}

bool is_surrogate(unsigned unit) {
  return unit >= 0xD800 && unit < 0xE000;
}

// What stands for the escape at the front of `rest`, and how much of it that was.
std::string_view readable_escape(std::string_view rest, std::size_t& taken) {
  taken = std::min<std::size_t>(2, rest.size());
  const unsigned unit = code_unit(rest);
  if (!is_surrogate(unit)) return rest.substr(0, taken);
  const unsigned next = rest.size() < 12 ? 0 : code_unit(rest.substr(6));
  const bool pair = unit < 0xDC00 && next >= 0xDC00 && next < 0xE000;
  taken = pair ? 12 : 6;
  return pair ? rest.substr(0, 12) : std::string_view("\\ufffd");
}

// The same of what stands outside of strings.
std::string readable_token(std::string_view rest, std::size_t& taken) {
  for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
    if (rest.starts_with(word)) {
      taken = word.size();
      return "null";
    }
  taken = 1;
  if (!is_digit(rest[0]) && rest[0] != '-') return std::string(1, rest[0]);
  taken = std::min(rest.find_first_not_of(kNumber), rest.size());
  return readable_number(rest.substr(0, taken));
}

}  // namespace

std::string readable_json(std::string json) {
  if (json.starts_with("\xEF\xBB\xBF")) json.erase(0, 3);
  if (!may_be_odd(json)) return json;
  std::string out;
  bool in_string = false;
  for (std::size_t at = 0, taken = 1; at < json.size(); at += taken) {
    const std::string_view rest = std::string_view(json).substr(at);
    taken = 1;
    if (in_string && rest[0] == '\\') {
      out += readable_escape(rest, taken);
    } else if (in_string || rest[0] == '"') {
      in_string = in_string != (rest[0] == '"');
      out += rest[0];
    } else {
      out += readable_token(rest, taken);
    }
  }
  return out;
}

}  // namespace trireme::jobs
