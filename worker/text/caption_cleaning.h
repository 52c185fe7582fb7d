// How captions are cleaned before any tokenizer sees them, as open_clip's get_clean_fn() does.
#pragma once

#include <string>
#include <string_view>

namespace trireme::worker::text {

//   whitespace    repair_text(), HTML references undone twice more, runs of white space to one blank
//   lower         that, and lower case
//   canonicalize  repair_text(), HTML references; "_" to blank, ASCII punctuation gone, lower case, white
//   space plain         NFC, white space, lower case: transformers' CLIP tokenizer
// Throws kInvalid for another name.
std::string clean_caption(std::string_view utf8, std::string_view cleaning);

}  // namespace trireme::worker::text
