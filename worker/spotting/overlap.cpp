#include "worker/spotting/overlap.h"

#include <algorithm>
#include <vector>

#include "worker/text/unicode.h"

namespace trireme::worker::spotting {
namespace {

constexpr std::size_t kMostCharacters = 20000;  // of a caption; what follows is not looked at

std::vector<std::int32_t> characters_of(std::string_view utf8) {
  const std::string lower = text::lower_case(utf8);
  std::vector<std::int32_t> characters;
  for (std::size_t at = 0; at < lower.size() && characters.size() < kMostCharacters;)
    characters.push_back(text::next_code_point(lower, at));
  return characters;
}

}  // namespace

std::int64_t longest_common_characters(std::string_view spotted_utf8, std::string_view caption_utf8) {
  const auto spotted = characters_of(spotted_utf8), caption = characters_of(caption_utf8);
  std::vector<std::int64_t> ends(caption.size() + 1);  // of common runs that end at each character
  std::int64_t longest = 0;
  for (const std::int32_t c : spotted)
    for (std::size_t i = caption.size(); i > 0; --i) {
      ends[i] = caption[i - 1] == c ? ends[i - 1] + 1 : 0;
      longest = std::max(longest, ends[i]);
    }
  return longest;
}

}  // namespace trireme::worker::spotting
