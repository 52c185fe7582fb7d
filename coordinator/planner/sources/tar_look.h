// A first look at a tar: what its first members tell about how it is to be read. The scan of a shard counts;
// this is what plan shows and what decides between one caption per text and one per line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::planner {

struct TarLook {
  std::vector<std::string> names;  // of regular members, as far as a second reaches
  bool whole = false;              // the look reached the end
  // Of the first 64 members:
  std::int64_t texts = 0, texts_of_lines = 0;  // .txt, and those with several lines
  bool labels = false, jsons = false;          // .cls, .json

  // CLIP_benchmark writes .cls, or texts of which most have several lines, and no .json.
  bool caption_per_line() const { return !jsons && 2 * texts_of_lines > texts; }
};

// The files of a CLIP_benchmark split: as many as its nshards.txt says. Throws kInvalid naming what is
// absent.
std::vector<std::string> numbered_tars(const io::Path& folder);

// Whether what CLIP_benchmark writes lies beside the tar, or class names one folder up.
bool clip_files_beside(const io::Path& tar);

// Empty for what is no tar; inspect reports that with the file's name.
TarLook look_at_tar(const io::Path& tar, const std::string& text_member);

}  // namespace trireme::coordinator::planner
