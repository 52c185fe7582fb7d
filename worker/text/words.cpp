#include "worker/text/words.h"

#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

constexpr std::int32_t kReplacement = 0xFFFD;

// BERT's control characters: Unicode's, but for the three that are space; what Python's str.split() calls
// space beyond them is dropped as well.
bool is_control(std::int32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == kReplacement || (c >= 0x1c && c <= 0x1f) || c == 0x0b || c == 0x0c || c == 0x85 ||
         classify(c) == CharClass::kControl;
}

// The blocks of Google's BERT tokenizer; kana and hangul are written with or without spaces and stay runs.
bool is_ideograph(std::int32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

template <class Visit>
void for_each_character(std::string_view text, Visit visit) {
  for (std::size_t at = 0; at < text.size();) visit(next_code_point(text, at));
}

// Control characters gone, ideographs set apart.
std::string cleaned(std::string_view text) {
  std::string out;
  for_each_character(text, [&](std::int32_t c) {
    if (is_control(c)) return;
    if (is_ideograph(c)) out += ' ';
    append_code_point(out, c);
    if (is_ideograph(c)) out += ' ';
  });
  return out;
}

}  // namespace

std::vector<std::string> unigrams(std::string_view caption_utf8) {
  const std::string text = nfd(lower_case(cleaned(caption_utf8)));
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for_each_character(text, [&](std::int32_t c) {
    const CharClass kind = classify(c);
    if (kind == CharClass::kSpace || kind == CharClass::kPunctuation) {
      end_word();
    } else if (kind != CharClass::kMark) {
      append_code_point(word, c);
    }
  });
  end_word();
  return words;
}

std::string normalized_text(std::string_view caption_utf8) {
  std::string valid;
  for_each_character(caption_utf8, [&](std::int32_t c) {
    if (c != kReplacement) append_code_point(valid, c);
  });
  // Lower-casing can undo NFC (the dotted capital I), so it stands between two of them.
  return collapse_space(nfc(lower_case(nfc(valid))));
}

}  // namespace trireme::worker::text
