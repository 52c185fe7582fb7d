// Words as ALIGN's rules count them (METHODS 3.1 with steps 1-3 of 5.2), and the form in which two captions
// are the same text. UTF-8 in, UTF-8 out; bytes that are not UTF-8 are dropped. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::worker::text {

// Control characters out, white space split, every CJK ideograph by itself, lower case, accents stripped
// (NFD without Mn), split at punctuation, which is not a word: "It's a café" -> it s a cafe.
std::vector<std::string> unigrams(std::string_view caption_utf8);

// NFC and lower case, runs of white space to one space, trimmed: the key under which texts are counted.
std::string normalized_text(std::string_view caption_utf8);

}  // namespace trireme::worker::text
