// How captions are cleaned before any tokenizer sees them, as open_clip's get_clean_fn() does.
#pragma once

#include <string>
#include <string_view>

#include "jobs/specification/model_spec.h"

namespace trireme::worker::text {

//   whitespace    repair_text(), HTML references undone twice more, runs of white space to one blank
//   lower         that, and lower case
//   canonicalize  repair_text(), HTML references; "_" to blank, ASCII punctuation gone, lower case, white
//                 space
//   plain         NFC, white space, lower case: transformers' CLIP tokenizer
//   unpunctuated  lower case, ASCII punctuation gone, "_" too, white space: transformers' SigLIP tokenizer
//   kUnset        as it is
std::string clean_caption(std::string_view utf8, jobs::CaptionCleaning cleaning);

}  // namespace trireme::worker::text
