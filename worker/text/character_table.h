// How the reference tokenizers see each character, independent of the Unicode version of any library here:
// BERT's classes as Hugging Face's tokenizers has them, CLIP's as the pattern of OpenAI's tokenizer has them
// under Python's regex, case ignored. The ranges are recorded from those (character_ranges.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace trireme::worker::text {

// Flags; a character may have several.
enum CharacterFlag : std::uint8_t {
  kBertControl = 1,      // dropped: Cc, Cf, Co, U+0000, U+FFFD; not tab, line feed, carriage return
  kBertMark = 2,         // Mn: dropped with accents
  kBertPunctuation = 4,  // a word of its own: P*, and ASCII's symbols
  kBertIdeograph = 8,    // set apart by blanks
  kSpace = 16,           // White_Space
  kClipLetter = 32,
  kClipNumber = 64,
  kClipNothing = 128  // matched by no alternative of the pattern
};

struct CharacterRange {
  std::uint32_t first, last;
};
struct CharacterClass {
  CharacterFlag flag;
  std::span<const CharacterRange> ranges;
};
std::span<const CharacterClass> character_classes();

// Flags of a code point, 0 beyond U+10FFFF. Thread-safe; the table is made at the first call.
class CharacterTable {
 public:
  static const CharacterTable& get();
  std::uint8_t operator[](std::int32_t code_point) const {
    const auto index = static_cast<std::uint32_t>(code_point);
    return index < kCodePoints ? flags_[index] : 0;
  }

 private:
  CharacterTable();
  static constexpr std::uint32_t kCodePoints = 0x110000;
  std::unique_ptr<std::uint8_t[]> flags_;
};

}  // namespace trireme::worker::text
