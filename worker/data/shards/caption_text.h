// Raw caption bytes -> what training and embedding see: valid UTF-8, trimmed of ASCII white space and a byte
// order mark, at most 64 KiB, cut at a character boundary. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::worker::data {

inline constexpr std::size_t kCaptionLimitBytes = 64 * 1024;        // one caption
inline constexpr std::size_t kCaptionFileLimitBytes = 1024 * 1024;  // all lines of one .txt

struct CaptionText {
  std::vector<std::string> captions;  // in file order, none empty
  std::int64_t bad_text = 0;          // captions that are not UTF-8, left out
  std::int64_t long_caption = 0;      // captions that were cut, kept
};

// The whole text as one caption.
CaptionText read_caption(std::string_view raw);

// One caption per line; empty lines are no captions.
CaptionText read_caption_lines(std::string_view raw);

bool valid_utf8(std::string_view text);

}  // namespace trireme::worker::data
