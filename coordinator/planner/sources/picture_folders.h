// Folders of pictures, and the tables that stand in them (image folders of Hugging Face).
#pragma once

#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::planner {

// Whether pictures lie in the folder itself.
bool pictures_in(const io::Path& folder);

// Folders at and below `folder` that hold pictures, in natural order.
std::vector<std::string> picture_folders(const io::Path& folder);

// metadata.jsonl, .csv or .parquet of the folder, in this order; none: "".
std::string metadata_in(const io::Path& folder);

// The metadata of `folder` and of every folder below it, in natural order. Throws kInvalid naming a .parquet
// among them, and, where there is any, folders of pictures that no table stands in or above.
std::vector<std::string> metadata_below(const io::Path& folder);

// What looks like a table of captions in these folders and is none of `taken`; "" when there is none.
std::string tables_not_taken(const std::vector<std::string>& folders, const std::vector<std::string>& taken);

// Other files at and below a folder of pictures, by suffix: "8 .caption, 1 .json"; "" when there are none.
std::string other_files(const io::Path& folder);

}  // namespace trireme::coordinator::planner
