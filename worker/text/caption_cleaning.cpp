#include "worker/text/caption_cleaning.h"

#include "common/base/error.h"
#include "worker/text/html_entities.h"
#include "worker/text/repair_text.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

std::string basic(std::string_view utf8) {
  std::string text = repair_text(utf8, true);
  return text.find('&') == std::string::npos ? text : unescape_html(unescape_html(text));
}

std::string without_punctuation(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool punctuation =
        (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    if (!punctuation || c == '_') out += c == '_' ? ' ' : c;
  }
  return out;
}

}  // namespace

std::string clean_caption(std::string_view utf8, std::string_view cleaning) {
  if (cleaning == "plain") return lower_case(collapse_space(nfc(utf8)));
  if (cleaning == "whitespace") return collapse_space(basic(utf8));
  if (cleaning == "lower") return lower_case(collapse_space(basic(utf8)));
  if (cleaning == "canonicalize") return collapse_space(lower_case(without_punctuation(basic(utf8))));
  throw Error(ErrorKind::kInvalid, "unknown cleaning '" + std::string(cleaning) + "'",
              "known are whitespace, lower, canonicalize and plain");
}

}  // namespace trireme::worker::text
