// How the name of a tar's member, or of a file, becomes the key of a sample and the suffix of one of its
// parts.
#pragma once

#include <string>
#include <string_view>

namespace trireme::jobs {

// first_dot: the key ends at the first dot of the base name (webdataset, open_clip): "a/1.seg.png" is part
// "seg.png" of "a/1". last_dot: at its last: "Lake 2.0 (edit).jpg" is the picture of "Lake 2.0 (edit)".
enum class KeyRule { kFirstDot, kLastDot };

struct MemberName {
  std::string_view key;  // within the name
  std::string suffix;    // lower case, without its dot
};
// False for names without a key or a suffix (no dot, or only one at the start of the base name).
bool split_member(std::string_view name, KeyRule rule, MemberName& out);
// Whether both rules say the same of it.
bool has_inner_dot(std::string_view name);

std::string lower_case(std::string_view text);  // ASCII
// "output.txt" -> "txt"
std::string_view last_suffix(std::string_view suffix);

}  // namespace trireme::jobs
