#include "worker/text/repair_text.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/unistr.h>

#include <array>
#include <optional>

#include "worker/text/html_entities.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

constexpr std::array<std::int32_t, 32> kWindows1252{
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};

// The byte that Windows-1252 or Latin-1 has for a character.
std::optional<unsigned char> byte_of(std::int32_t code_point) {
  if (code_point < 0x100) return static_cast<unsigned char>(code_point);
  for (std::size_t i = 0; i < kWindows1252.size(); ++i)
    if (kWindows1252[i] == code_point) return static_cast<unsigned char>(0x80 + i);
  return {};
}

std::size_t misread_length(std::int32_t lead) {
  if (lead == 0xc2 || lead == 0xc3) return 2;
  if (lead == 0xe2) return 3;
  return lead == 0xf0 ? 4 : 0;
}

std::string decode_again(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t next = at, end = 0;
    const std::int32_t lead = next_code_point(text, next);
    const std::size_t length = misread_length(lead);
    std::string bytes;
    if (length > 0) {
      bytes += static_cast<char>(lead);
      end = next;
      while (bytes.size() < length && end < text.size()) {
        const auto byte = byte_of(next_code_point(text, end));
        if (!byte || (*byte & 0xc0) != 0x80) break;
        bytes += static_cast<char>(*byte);
      }
    }
    std::size_t used = 0;
    const bool whole =
        length > 0 && bytes.size() == length && next_code_point(bytes, used) != 0xfffd && used == length;
    out += whole ? bytes : std::string(text.substr(at, next - at));
    at = whole ? end : next;
  }
  return out;
}

std::string_view ligature(std::int32_t c) {
  static constexpr std::array<std::string_view, 9> kDigraphs{
      "D\xc5\xbd", "D\xc5\xbe", "d\xc5\xbe", "LJ", "Lj", "lj", "NJ", "Nj", "nj"};
  static constexpr std::array<std::string_view, 7> kPresentation{"ff",  "fi",        "fl", "ffi",
                                                                 "ffl", "\xc5\xbft", "st"};
  if (c >= 0x1c4 && c <= 0x1cc) return kDigraphs[static_cast<std::size_t>(c - 0x1c4)];
  if (c >= 0xfb00 && c <= 0xfb06) return kPresentation[static_cast<std::size_t>(c - 0xfb00)];
  switch (c) {
    case 0x132:
      return "IJ";
    case 0x133:
      return "ij";
    case 0x149:
      return "\xca\xbcn";
    case 0x1f1:
      return "DZ";
    case 0x1f2:
      return "Dz";
    case 0x1f3:
      return "dz";
    default:
      return {};
  }
}

// Halfwidth and fullwidth forms by their compatibility decomposition.
std::string usual_width(std::int32_t c) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const nfkc = icu::Normalizer2::getNFKCInstance(status);
  std::string out;
  if (U_SUCCESS(status)) nfkc->normalize(icu::UnicodeString(c), status).toUTF8String(out);
  return out;
}

bool dropped(std::int32_t c) {
  return c < 9 || c == 0xb || (c >= 0xe && c < 0x20) || c == 0x7f || (c >= 0x206a && c <= 0x206f) ||
         c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

void append_repaired(std::string& out, std::int32_t c) {
  if (c >= 0x80 && c < 0xa0) c = kWindows1252[static_cast<std::size_t>(c - 0x80)];
  if (const std::string_view letters = ligature(c); !letters.empty()) {
    out += letters == "\xca\xbcn" ? "'n" : letters;  // its apostrophe is a quote, too
  } else if (c == 0x3000) {
    out += ' ';
  } else if (c >= 0xff01 && c <= 0xffef) {
    out += usual_width(c);
  } else if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) {
    out += '\'';
  } else if (c >= 0x201c && c <= 0x201f) {
    out += '"';
  } else if (c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029) {
    out += '\n';
  } else if (!dropped(c)) {
    append_code_point(out, c);
  }
}

// Length of ESC [ digits and semicolons, letter; 0 without one.
std::size_t terminal_escape(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  if (end == std::string_view::npos) return 0;
  const char last = static_cast<char>(text[end] | 0x20);
  return last >= 'a' && last <= 'z' ? end + 1 : 0;
}

// What "&name;" or "&#number;" stands for, or itself.
std::string referenced(const std::string& reference) {
  // A name of which only the beginning is known leaves its end behind.
  const auto whole = [](const std::string& text) {
    std::string out = unescape_html(text);
    return out.size() > 1 && out.back() == ';' ? text : out;
  };
  std::string out = whole(reference);
  if (out != reference || reference[1] == '#' || lower_case(reference) == reference) return out;
  for (const char c : reference)
    if (c >= 'a' && c <= 'z') return out;
  const std::string lower = lower_case(reference), small = whole(lower);
  if (small == lower) return out;
  std::string upper;
  icu::UnicodeString::fromUTF8(small).toUpper(icu::Locale::getRoot()).toUTF8String(upper);
  return upper;
}

std::string without_references(std::string_view text) {
  std::string out;
  const auto alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    if (text[at] == '&') {
      if (end < text.size() && text[end] == '#') ++end;
      const std::size_t first = end;
      while (end < text.size() && alphanumeric(text[end]) && end - first < 24) ++end;
      if (end < text.size() && text[end] == ';' && end > first) {
        out += referenced(std::string(text.substr(at, end + 1 - at)));
        at = end + 1;
        continue;
      }
    }
    out += text[at++];
  }
  return out;
}

std::string repaired_once(std::string_view text, bool references) {
  const std::string decoded = references && text.find('&') != std::string_view::npos
                                  ? decode_again(without_references(text))
                                  : decode_again(text);
  std::string out;
  out.reserve(decoded.size());
  for (std::size_t at = 0; at < decoded.size();) {
    if (decoded[at] == '\x1b') {
      if (const std::size_t length = terminal_escape(std::string_view(decoded).substr(at)); length > 0) {
        at += length;
        continue;
      }
    }
    if (decoded.compare(at, 2, "\r\n") == 0) ++at;
    append_repaired(out, next_code_point(decoded, at));
  }
  return nfc(out);
}

}  // namespace

std::string repair_text(std::string_view utf8, bool references) {
  bool plain = true;
  references = references && utf8.find('<') == std::string_view::npos;
  for (const char c : utf8) plain = plain && c >= ' ' && c < 0x7f && !(references && c == '&');
  std::string text(utf8);
  if (plain) return text;
  constexpr int kMostRounds = 8;  // each round shortens what was misread more than once
  for (int round = 0; round < kMostRounds; ++round) {
    std::string next = repaired_once(text, references);
    if (next == text) break;
    text = std::move(next);
  }
  return text;
}

}  // namespace trireme::worker::text
