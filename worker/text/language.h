// Language of a text by CLD2 (character four-grams; METHODS 3.1 trains on English, DiHT's base set is
// English).
#pragma once

#include <string>
#include <string_view>

namespace trireme::worker::text {

// "en", "de", "zh-Hant" …; "un" when the text is too short or too odd to tell. Thread-safe.
std::string language_of(std::string_view text_utf8);

}  // namespace trireme::worker::text
