#include "worker/text/unicode.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <array>

#include "common/base/error.h"

namespace trireme::worker::text {
namespace {

CharClass classify_slowly(std::int32_t code_point) {
  if ((code_point >= 0x1c && code_point <= 0x1f) || u_isUWhiteSpace(code_point)) return CharClass::kSpace;
  const std::uint32_t category = U_MASK(u_charType(code_point));
  if (category & U_GC_L_MASK) return CharClass::kLetter;
  if (category & U_GC_N_MASK) return CharClass::kNumber;
  if (category & U_GC_MN_MASK) return CharClass::kMark;
  if (category & U_GC_P_MASK) return CharClass::kPunctuation;
  if (category & U_GC_C_MASK) return CharClass::kControl;
  return code_point < 0x80 ? CharClass::kPunctuation : CharClass::kOther;
}

std::array<CharClass, 0x250> make_table() {
  std::array<CharClass, 0x250> table{};
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = classify_slowly(static_cast<std::int32_t>(i));
  return table;
}

icu::UnicodeString decode(std::string_view utf8) {
  return icu::UnicodeString::fromUTF8({utf8.data(), static_cast<std::int32_t>(utf8.size())});
}

std::string encode(const icu::UnicodeString& text) {
  std::string utf8;
  text.toUTF8String(utf8);
  return utf8;
}

std::string normalized(std::string_view utf8, const icu::Normalizer2* form, UErrorCode& status) {
  const icu::UnicodeString text =
      U_SUCCESS(status) ? form->normalize(decode(utf8), status) : icu::UnicodeString();
  if (U_FAILURE(status))
    throw Error(ErrorKind::kInternal, std::string("ICU cannot normalise text: ") + u_errorName(status));
  return encode(text);
}

}  // namespace

CharClass classify(std::int32_t code_point) {
  static const std::array<CharClass, 0x250> table = make_table();
  const auto index = static_cast<std::size_t>(code_point);
  return index < table.size() ? table[index] : classify_slowly(code_point);
}

std::int32_t next_code_point(std::string_view utf8, std::size_t& at) {
  const auto byte = static_cast<std::uint8_t>(utf8[at]);
  if (byte < 0x80) {
    ++at;
    return byte;
  }
  UChar32 code_point = 0;
  std::size_t offset = at;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(utf8.data());
  U8_NEXT_OR_FFFD(bytes, offset, utf8.size(), code_point);
  at = offset;
  return code_point;
}

void append_code_point(std::string& utf8, std::int32_t code_point) {
  std::array<std::uint8_t, U8_MAX_LENGTH> bytes{};
  std::size_t length = 0;
  U8_APPEND_UNSAFE(bytes.data(), length, code_point);
  utf8.append(reinterpret_cast<const char*>(bytes.data()), length);
}

bool is_ascii(std::string_view text) {
  unsigned char seen = 0;
  for (const char c : text) seen |= static_cast<unsigned char>(c);
  return seen < 0x80;
}

std::string lower_case(std::string_view utf8) {
  if (!is_ascii(utf8)) return encode(decode(utf8).toLower(icu::Locale::getRoot()));
  std::string lower(utf8);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return lower;
}

void append_lower_case(std::string& utf8, std::int32_t code_point) {
  constexpr std::int32_t kDottedI = 0x130, kDotAbove = 0x307;  // the only one that becomes two
  append_code_point(utf8, code_point == kDottedI ? 'i' : u_tolower(code_point));
  if (code_point == kDottedI) append_code_point(utf8, kDotAbove);
}

std::string nfc(std::string_view utf8) {
  if (is_ascii(utf8)) return std::string(utf8);
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const form = icu::Normalizer2::getNFCInstance(status);
  return normalized(utf8, form, status);
}

std::string nfd(std::string_view utf8) {
  if (is_ascii(utf8)) return std::string(utf8);
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const form = icu::Normalizer2::getNFDInstance(status);
  return normalized(utf8, form, status);
}

std::string collapse_space(std::string_view utf8) {
  std::string out;
  out.reserve(utf8.size());
  bool pending = false;
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t start = at;
    const std::int32_t code_point = next_code_point(utf8, at);
    if (classify(code_point) == CharClass::kSpace) {
      pending = !out.empty();
      continue;
    }
    if (pending) out += ' ';
    pending = false;
    if (at - start == 1 && code_point >= 0x80)
      append_code_point(out, code_point);  // an ill-formed byte
    else
      out.append(utf8.substr(start, at - start));
  }
  return out;
}

}  // namespace trireme::worker::text
