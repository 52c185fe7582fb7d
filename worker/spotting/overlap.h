// How much of a caption stands in the picture (DiHT's T rule; METHODS 2.2 and 10.7): the longest common
// substring of the two lower-cased strings, blanks counted, in characters; each spotted string by itself.
#pragma once

#include <cstdint>
#include <string_view>

namespace trireme::worker::spotting {

std::int64_t longest_common_characters(std::string_view spotted_utf8, std::string_view caption_utf8);

}  // namespace trireme::worker::spotting
