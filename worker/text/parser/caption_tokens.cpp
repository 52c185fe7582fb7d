#include "worker/text/parser/caption_tokens.h"

#include <algorithm>
#include <array>

#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

constexpr std::size_t kLongestTag = 300;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_letter(char c) {
  return is_upper(c) || (c >= 'a' && c <= 'z');
}

// Where the tag or character reference that starts at `at` ends; `at` when there is none.
std::size_t markup_end(std::string_view text, std::size_t at) {
  if (text[at] == '<' && at + 1 < text.size() && (is_letter(text[at + 1]) || text[at + 1] == '/')) {
    const auto end = text.find('>', at);
    return end != std::string_view::npos && end - at < kLongestTag ? end + 1 : at;
  }
  if (text[at] == '&') {
    const auto end = text.find(';', at);
    const bool whole = end != std::string_view::npos && end - at >= 3 && end - at <= 8 &&
                       std::all_of(text.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                                   text.begin() + static_cast<std::ptrdiff_t>(end),
                                   [](char c) { return is_letter(c) || is_digit(c) || c == '#'; });
    return whole ? end + 1 : at;
  }
  return at;
}

class Tokenizer {
 public:
  // `text` has the case of the caption, `lower` the same bytes in lower case (or, when lower-casing changed
  // a length, `text` is the lower-cased text itself).
  Tokenizer(std::string_view text, std::string_view lower, std::vector<CaptionToken>& tokens)
      : text_(text), lower_(lower), tokens_(tokens) {}

  void run() {
    for (std::size_t at = 0; at < text_.size() && tokens_.size() < kTokenLimit;) {
      if (const auto end = markup_end(text_, at); end > at) {
        if (text_.substr(at, end - at) == "&amp;") add(at, at + 1, TokenKind::kPunctuation);
        at = end;
      } else if (const auto behind = word_end(at); behind > at) {
        add_word(at, behind);
        at = behind;
      } else {
        at = skip_or_mark(at);
      }
    }
  }

 private:
  bool word_char(std::size_t at, std::size_t& next) const {
    const char c = text_[at];
    next = at + 1;
    if (static_cast<unsigned char>(c) < 0x80) return is_letter(c) || is_digit(c) || c == '_';
    next = at;
    const auto code_point = next_code_point(text_, next);
    const CharClass kind = code_point == 0xFFFD ? CharClass::kOther : classify(code_point);
    return kind == CharClass::kLetter || kind == CharClass::kNumber || kind == CharClass::kMark;
  }

  // Bytes of a joint inside a word: hyphen, apostrophe, or a dot, comma, colon or slash of what looks like
  // a number, a file or an address.
  std::size_t joint(std::size_t at) const {
    const char c = text_[at];
    if (c == '-' || c == '\'' || c == '.' || c == '@') return 1;
    if (text_.substr(at, 3) == "\xE2\x80\x99" || text_.substr(at, 3) == "\xE2\x80\x91") return 3;
    if (text_.substr(at, 3) == "://") return 3;
    if ((c == ',' || c == ':') && at > 0 && is_digit(text_[at - 1])) return 1;
    return 0;
  }

  std::size_t word_end(std::size_t at) const {
    std::size_t next = 0;
    if (!word_char(at, next)) return at;
    while (at < text_.size()) {
      if (word_char(at, next)) {
        at = next;
        continue;
      }
      const std::size_t step = joint(at);
      if (step == 0 || at + step >= text_.size() || !word_char(at + step, next)) break;
      if (step == 1 && (text_[at] == ',' || text_[at] == ':') && !is_digit(text_[at + 1])) break;
      at += step;
      if (step == 3 && text_[at - 1] == '/')  // an address: up to the next space
        return std::min(text_.find_first_of(" \t\r\n<>\"", at), text_.size());
    }
    return at;
  }

  std::size_t skip_or_mark(std::size_t at) {
    std::size_t next = at;
    const auto code_point = next_code_point(text_, next);
    const CharClass kind = classify(code_point);
    if (kind == CharClass::kPunctuation && code_point != 0xFFFD) add(at, next, TokenKind::kPunctuation);
    return next;
  }

  CaptionToken& add(std::size_t first, std::size_t last, TokenKind kind) {
    tokens_.push_back({lower_.substr(first, last - first), kind, is_upper(text_[first]), false});
    return tokens_.back();
  }

  void add_word(std::size_t first, std::size_t last) {
    const std::string_view word = text_.substr(first, last - first);
    const auto letters = std::count_if(word.begin(), word.end(), is_letter);
    const auto upper = std::count_if(word.begin(), word.end(), is_upper);
    const auto digits = std::count_if(word.begin(), word.end(), is_digit);
    const bool dotted = word.find('.') != std::string_view::npos && letters > 0 && word.size() > 5;
    if (word.find('_') != std::string_view::npos || word.find("://") != std::string_view::npos ||
        word.find('@') != std::string_view::npos || dotted) {
      add(first, last, TokenKind::kName);
      return;
    }
    if (digits > 0 && (letters == 0 || is_digit(word[0]))) {
      const bool ordinal_or_unit = letters <= 2 && word.find('-') == std::string_view::npos;
      const bool compound = word.find('-') != std::string_view::npos && letters > 0;
      add(first, last, compound ? TokenKind::kWord : ordinal_or_unit ? TokenKind::kNumber : TokenKind::kName);
      return;
    }
    const std::size_t clitic = clitic_at(first, last);
    if (clitic > first)
      add(first, clitic, TokenKind::kWord).all_capitals = upper >= 2 && upper + 1 >= letters;
    if (clitic < last || clitic == first) {
      auto& token = add(clitic, last, clitic > first ? TokenKind::kClitic : TokenKind::kWord);
      token.all_capitals = upper >= 2 && upper == letters;
    }
  }

  // Where the clitic of a word starts; `last` when it has none.
  std::size_t clitic_at(std::size_t first, std::size_t last) const {
    const std::string_view word = lower_.substr(first, last - first);
    auto mark = word.rfind('\'');
    std::size_t width = 1;
    if (mark == std::string_view::npos) {
      mark = word.rfind("\xE2\x80\x99");
      width = 3;
    }
    if (mark == std::string_view::npos || mark == 0) return last;
    const std::string_view end = word.substr(mark + width);
    if (end == "t" && word[mark - 1] == 'n') return first + mark - 1;
    constexpr std::array<std::string_view, 6> kEnds = {"s", "re", "ve", "ll", "d", "m"};
    return std::find(kEnds.begin(), kEnds.end(), end) == kEnds.end() ? last : first + mark;
  }

  std::string_view text_, lower_;
  std::vector<CaptionToken>& tokens_;
};

std::string_view shortened(std::string_view text) {
  if (text.size() <= kReadBytes) return text;
  std::size_t end = kReadBytes;
  while (end > kReadBytes - 4 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end);
}

}  // namespace

void tokenize_caption(std::string_view caption_utf8, std::string& lower, std::vector<CaptionToken>& tokens) {
  tokens.clear();
  const std::string_view text = shortened(caption_utf8);
  if (is_ascii(text)) {
    lower.assign(text);
    for (char& c : lower) c = is_upper(c) ? static_cast<char>(c + ('a' - 'A')) : c;
  } else {
    lower = lower_case(text);
  }
  // Capitals are read off the caption where lower-casing kept its length.
  Tokenizer(lower.size() == text.size() ? text : std::string_view(lower), lower, tokens).run();
}

}  // namespace trireme::worker::text
