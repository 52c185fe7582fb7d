// Tells an evaluation tar (CLIP_benchmark: .cls labels, several captions per .txt, one a line) from a
// training one (img2dataset: .json beside each image, one caption) by its first members.
#pragma once

#include "common/io/file.h"

namespace trireme::coordinator::planner {

// False too for what is no tar; inspect reports that with the file's name.
bool looks_like_clip_benchmark(const io::Path& tar);

}  // namespace trireme::coordinator::planner
