// A caption as tokens for the caption parser: words, clitics ("man's" -> man 's, "don't" -> do n't), numbers,
// punctuation, and whatever is no language at all (IMG_2033.jpg, www.example.com). Tags of markup are left
// out. UTF-8 in; ill-formed bytes separate words. Reads at most kReadBytes and kTokenLimit tokens, so that
// no caption costs more than a page of text. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::worker::text {

inline constexpr std::size_t kReadBytes = 8192, kTokenLimit = 512;

enum class TokenKind : std::uint8_t { kWord, kClitic, kNumber, kPunctuation, kName };

struct CaptionToken {
  std::string_view word;  // in lower case, within the buffer that was given
  TokenKind kind = TokenKind::kWord;
  bool capital = false;       // the first letter was a capital
  bool all_capitals = false;  // every letter was, and there are two or more
};

// Fills `tokens` (cleared first); `lower` is the buffer they point into.
void tokenize_caption(std::string_view caption_utf8, std::string& lower, std::vector<CaptionToken>& tokens);

}  // namespace trireme::worker::text
