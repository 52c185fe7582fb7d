#include "worker/text/language.h"

#include <cstdio>  // CLD2's header needs it and does not include it

#include <cld2/public/compact_lang_det.h>

#include <algorithm>

namespace trireme::worker::text {

std::string language_of(std::string_view text_utf8) {
  constexpr std::size_t kEnough = 4096;
  CLD2::Language languages[3];
  int percents[3], bytes = 0;
  bool reliable = false;
  const CLD2::Language found =
      CLD2::ExtDetectLanguageSummary(text_utf8.data(), static_cast<int>(std::min(text_utf8.size(), kEnough)),
                                     true, languages, percents, &bytes, &reliable);
  return reliable ? CLD2::LanguageCode(found) : "un";
}

}  // namespace trireme::worker::text
