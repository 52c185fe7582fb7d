// The little Unicode that tokenizers need, with a fast path for ASCII.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::worker::text {

enum class CharClass : std::uint8_t { kSpace, kLetter, kNumber, kMark, kPunctuation, kControl, kOther };

// General category (ICU); space is White_Space and U+001C–U+001F, as Python's str.split() sees it. ASCII
// symbols count as punctuation, as BERT sees them.
CharClass classify(std::int32_t code_point);

// The code point at `at`, which moves behind it; U+FFFD for each ill-formed sequence.
std::int32_t next_code_point(std::string_view utf8, std::size_t& at);
void append_code_point(std::string& utf8, std::int32_t code_point);

bool is_ascii(std::string_view text);

// Full lower case of the root locale (final sigma, İ).
std::string lower_case(std::string_view utf8);
// One character, without regard to its neighbours (no final sigma).
void append_lower_case(std::string& utf8, std::int32_t code_point);
std::string nfc(std::string_view utf8);
std::string nfd(std::string_view utf8);

// Runs of space to one blank, none at the ends.
std::string collapse_space(std::string_view utf8);

}  // namespace trireme::worker::text
