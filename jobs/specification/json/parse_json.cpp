// The strict reader of job files: reports every fault that it can read on from, with its position.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_set>

#include "common/base/log.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

constexpr std::int64_t kLargestExact = std::int64_t{1} << 53;

struct Stop {};  // the rest of the text cannot be read

class Parser {
 public:
  Parser(std::string_view text, std::vector<SpecFault>& faults, const JsonLimits& limits)
      : text_(text), faults_(faults), limits_(limits) {}

  Json run() {
    Json root;
    try {
      if (text_.size() > limits_.bytes)
        stop("too_large",
             "the document has " + std::to_string(text_.size()) + " bytes, at most " +
                 std::to_string(limits_.bytes) + " are allowed",
             "a job file names data, it does not hold it");
      if (text_.substr(0, 3) == "\xef\xbb\xbf")
        stop("syntax", "the document starts with a byte order mark", "save it as UTF-8 without BOM");
      skip_space();
      root = value(1);
      skip_space();
      if (at_ < text_.size()) syntax("text after the end of the document");
    } catch (const Stop&) {
    }
    return root;
  }

 private:
  [[noreturn]] void stop(const std::string& code, const std::string& detail, const std::string& hint = "") {
    add_fault(faults_, {pointer_, code, detail, hint});
    throw Stop{};
  }

  [[noreturn]] void syntax(const std::string& what, const std::string& hint = "") {
    std::size_t line = 1, line_start = 0;
    for (std::size_t i = 0; i < std::min(at_, text_.size()); ++i)
      if (text_[i] == '\n') {
        ++line;
        line_start = i + 1;
      }
    std::string found = at_ < text_.size() ? ", found '" + printable(text_.substr(at_, 1)) + "'" : "";
    stop("syntax",
         "line " + std::to_string(line) + ", column " + std::to_string(at_ - line_start + 1) + ": " + what +
             found,
         hint);
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      ++at_;
    if (at_ < text_.size() && (text_[at_] == '/' || text_[at_] == '#'))
      syntax("JSON has no comments", "use \"labels\" for remarks");
  }

  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json value(std::size_t depth) {
    if (at_ >= text_.size()) syntax("the document ends too early");
    const std::size_t start = at_;
    const char c = text_[at_];
    Json result;
    if (c == '{' || c == '[') {
      if (depth > limits_.depth)
        stop("too_deep", "nested deeper than " + std::to_string(limits_.depth) + " levels");
      result = c == '{' ? object(depth) : array(depth);
    } else if (c == '"') {
      result = string_value();
    } else if (take_word("true")) {
      result = Json(true);
    } else if (take_word("false")) {
      result = Json(false);
    } else if (take_word("null")) {
      result = Json();
    } else {
      result = number();
    }
    result.position = start;
    return result;
  }

  Json object(std::size_t depth) {
    Json result = Json::object();
    std::unordered_set<std::string> seen;
    ++at_;
    skip_space();
    if (take('}')) return result;
    while (true) {
      skip_space();
      if (at_ >= text_.size() || text_[at_] != '"') syntax("expected a key in double quotes");
      const std::string outer = pointer_;
      Json key = string_value();
      pointer_ += pointer_token(key.text);
      const bool first_time = seen.insert(key.text).second;
      if (!first_time)
        add_fault(faults_,
                  {pointer_, "duplicate_key", "the key \"" + printable(key.text, 64) + "\" occurs twice",
                   "keep one of the two"});
      skip_space();
      if (!take(':')) syntax("expected ':'");
      skip_space();
      Json item = value(depth + 1);
      pointer_ = outer;
      if (first_time) {
        result.keys.push_back(std::move(key.text));
        result.items.push_back(std::move(item));
      }
      skip_space();
      if (take('}')) return result;
      if (!take(',')) syntax("expected ',' or '}'");
    }
  }

  Json array(std::size_t depth) {
    Json result = Json::array();
    ++at_;
    skip_space();
    if (take(']')) return result;
    while (true) {
      skip_space();
      const std::string outer = pointer_;
      pointer_ += pointer_token(std::to_string(result.items.size()));
      result.items.push_back(value(depth + 1));
      pointer_ = outer;
      skip_space();
      if (take(']')) return result;
      if (!take(',')) syntax("expected ',' or ']'");
    }
  }

  void skip_digits() {
    if (at_ >= text_.size() || text_[at_] < '0' || text_[at_] > '9') {
      if (text_.substr(at_, 3) == "NaN" || text_.substr(at_, 3) == "Inf")
        syntax("NaN and Infinity are no JSON numbers");
      syntax("expected a value", "strings and keys stand in double quotes");
    }
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
  }

  Json number() {
    const std::size_t start = at_;
    take('-');
    if (take('0')) {
      if (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9')
        syntax("a number must not start with 0");
    } else {
      skip_digits();
    }
    bool whole = true;
    if (take('.')) {
      whole = false;
      skip_digits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      whole = false;
      ++at_;
      if (!take('+')) take('-');
      skip_digits();
    }
    return number_from(text_.substr(start, at_ - start), whole);
  }

  Json number_from(std::string_view digits, bool whole) {
    Json broken;
    broken.type = Json::Type::kBroken;
    if (whole) {
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error == std::errc() && value >= -kLargestExact && value <= kLargestExact) return Json(value);
      add_fault(faults_,
                {pointer_, "out_of_range",
                 "the integer " + std::string(digits.substr(0, 40)) + " is beyond 2^53 and would be rounded",
                 "use a smaller number"});
      return broken;
    }
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc() && std::isfinite(value)) return Json(value);
    add_fault(faults_, {pointer_, "out_of_range",
                        "the number " + std::string(digits.substr(0, 40)) + " does not fit a double", ""});
    return broken;
  }

  unsigned hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : ' ';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) syntax("expected four hex digits after \\u");
      code = code * 16 + static_cast<unsigned>(digit);
    }
    return code;
  }

  static void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  // After "\u". False: not a character (lone surrogate or NUL).
  bool unicode_escape(std::string& out) {
    unsigned code = hex4();
    if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      const std::size_t back = at_;
      at_ += 2;
      const unsigned low = hex4();
      if (low >= 0xDC00 && low < 0xE000) {
        append_utf8(out, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
        return true;
      }
      at_ = back;
    }
    if (code == 0 || (code >= 0xD800 && code < 0xE000)) return false;
    append_utf8(out, code);
    return true;
  }

  void escape(std::string& out, std::string& problem) {
    static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (at_ >= text_.size()) syntax("the string does not end");
    const char c = text_[at_];
    if (const std::size_t which = kLetters.find(c); which != std::string_view::npos) {
      out += kMeanings[which];
      ++at_;
    } else if (c == 'u') {
      ++at_;
      if (!unicode_escape(out)) problem = "holds \\u0000 or half of a surrogate pair";
    } else {
      syntax("unknown escape", "a backslash is written \\\\");
    }
  }

  // Length of the valid UTF-8 sequence at at_, 0 when it is none.
  std::size_t utf8_length() const {
    const auto byte = [&](std::size_t i) -> unsigned {
      return at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0U;
    };
    const unsigned lead = byte(0);
    const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead < 0xE0) return follows(1) ? 2 : 0;
    if (lead >= 0xE0 && lead < 0xF0) {
      const bool overlong = lead == 0xE0 && byte(1) < 0xA0, surrogate = lead == 0xED && byte(1) >= 0xA0;
      return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
    }
    if (lead >= 0xF0 && lead < 0xF5) {
      const bool overlong = lead == 0xF0 && byte(1) < 0x90, beyond = lead == 0xF4 && byte(1) >= 0x90;
      return follows(1) && follows(2) && follows(3) && !overlong && !beyond ? 4 : 0;
    }
    return 0;
  }

  Json string_value() {
    std::string out, problem;
    ++at_;
    while (true) {
      if (at_ >= text_.size()) syntax("the string does not end");
      const unsigned char c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') break;
      if (c < 0x20) syntax("a control character in a string", "write it as an escape such as \\n");
      if (c == '\\') {
        ++at_;
        escape(out, problem);
      } else if (const std::size_t length = utf8_length(); length > 0) {
        out.append(text_.substr(at_, length));
        at_ += length;
      } else {
        problem = "is not valid UTF-8";
        ++at_;
      }
    }
    ++at_;
    Json result(std::move(out));
    if (!problem.empty()) {
      add_fault(faults_, {pointer_, "bad_string", "the string " + problem, ""});
      result.type = Json::Type::kBroken;
    }
    return result;
  }

  std::string_view text_;
  std::vector<SpecFault>& faults_;
  JsonLimits limits_;
  std::size_t at_ = 0;
  std::string pointer_;
};

}  // namespace

Json parse_json(std::string_view text, std::vector<SpecFault>& faults, const JsonLimits& limits) {
  return Parser(text, faults, limits).run();
}

}  // namespace trireme::jobs
