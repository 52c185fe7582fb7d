#include "worker/text/caption_cleaning.h"

#include "worker/text/html_entities.h"
#include "worker/text/repair_text.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

std::string basic(std::string_view utf8) {
  std::string text = repair_text(utf8, true);
  return text.find('&') == std::string::npos ? text : unescape_html(unescape_html(text));
}

// `dash`: what becomes of "_".
std::string without_punctuation(const std::string& text, std::string_view dash) {
  std::string out;
  for (const char c : text) {
    const bool punctuation =
        (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    if (c == '_')
      out += dash;
    else if (!punctuation)
      out += c;
  }
  return out;
}

}  // namespace

std::string clean_caption(std::string_view utf8, jobs::CaptionCleaning cleaning) {
  using enum jobs::CaptionCleaning;
  if (cleaning == kPlain) return lower_case(collapse_space(nfc(utf8)));
  if (cleaning == kWhitespace) return collapse_space(basic(utf8));
  if (cleaning == kLower) return lower_case(collapse_space(basic(utf8)));
  if (cleaning == kCanonicalize) return collapse_space(lower_case(without_punctuation(basic(utf8), " ")));
  if (cleaning == kUnpunctuated)
    return collapse_space(without_punctuation(lower_case(std::string(utf8)), ""));
  return std::string(utf8);
}

}  // namespace trireme::worker::text
