#include "worker/text/words.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "common/base/error.h"

namespace trireme::worker::text {
namespace {

constexpr UChar32 kReplacement = 0xFFFD;

bool is_space(UChar32 c) {
  return c == '\t' || c == '\n' || c == '\r' || u_charType(c) == U_SPACE_SEPARATOR;
}

bool is_control(UChar32 c) {
  const auto type = u_charType(c);
  return type == U_CONTROL_CHAR || type == U_FORMAT_CHAR;
}

// The blocks of Google's BERT tokenizer; kana and hangul are written with or without spaces and stay runs.
bool is_ideograph(UChar32 c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_punctuation(UChar32 c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126) ||
         u_ispunct(c);
}

icu::UnicodeString decoded(std::string_view utf8) {
  return icu::UnicodeString::fromUTF8(
      icu::StringPiece(utf8.data(), static_cast<std::int32_t>(std::min<std::size_t>(utf8.size(), 1 << 28))));
}

icu::UnicodeString normalized(const icu::UnicodeString& text, bool compose) {
  UErrorCode status = U_ZERO_ERROR;
  const auto* form =
      compose ? icu::Normalizer2::getNFCInstance(status) : icu::Normalizer2::getNFDInstance(status);
  if (U_FAILURE(status)) throw Error(ErrorKind::kInternal, "ICU has no normalisation data");
  auto out = form->normalize(text, status);
  if (U_FAILURE(status)) throw Error(ErrorKind::kInternal, "ICU could not normalise a caption");
  return out;
}

template <class Visit>
void for_each_character(const icu::UnicodeString& text, Visit visit) {
  for (std::int32_t at = 0; at < text.length(); at = text.moveIndex32(at, 1)) visit(text.char32At(at));
}

// Step 1 and 2: clean, and set ideographs apart.
icu::UnicodeString cleaned(const icu::UnicodeString& text) {
  icu::UnicodeString out;
  for_each_character(text, [&](UChar32 c) {
    if (is_space(c)) {
      out.append(UChar32{' '});
    } else if (c == 0 || c == kReplacement || is_control(c)) {
      return;
    } else if (is_ideograph(c)) {
      out.append(UChar32{' '}).append(c).append(UChar32{' '});
    } else {
      out.append(c);
    }
  });
  return out;
}

}  // namespace

std::vector<std::string> unigrams(std::string_view caption_utf8) {
  auto text = cleaned(decoded(caption_utf8));
  text = normalized(text.toLower(icu::Locale::getRoot()), /*compose=*/false);
  std::vector<std::string> words;
  icu::UnicodeString word;
  const auto end_word = [&] {
    if (word.isEmpty()) return;
    word.toUTF8String(words.emplace_back());
    word.remove();
  };
  for_each_character(text, [&](UChar32 c) {
    if (c == ' ' || is_punctuation(c)) {
      end_word();
    } else if (u_charType(c) != U_NON_SPACING_MARK) {
      word.append(c);
    }
  });
  end_word();
  return words;
}

std::string normalized_text(std::string_view caption_utf8) {
  // Lower-casing can undo NFC (the dotted capital I), so it stands between two of them.
  auto text = normalized(decoded(caption_utf8), /*compose=*/true);
  text = normalized(text.toLower(icu::Locale::getRoot()), /*compose=*/true);
  icu::UnicodeString out;
  bool gap = false;
  for_each_character(text, [&](UChar32 c) {
    if (u_isUWhiteSpace(c)) {
      gap = !out.isEmpty();
      return;
    }
    if (c == kReplacement) return;
    if (gap) out.append(UChar32{' '});
    gap = false;
    out.append(c);
  });
  std::string utf8;
  out.toUTF8String(utf8);
  return utf8;
}

}  // namespace trireme::worker::text
