// Files of a folder as planner and worker agree on them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::jobs {

struct ListedFile {
  std::string name;  // below the folder
  std::uint64_t bytes = 0;
  std::int64_t changed_ns = 0;  // of its contents, since 1970
};

// Regular files and links to nothing (0 bytes) in natural order of their names, leftovers among them;
// `below`: those of sub-folders, too (hidden ones are passed over).
std::vector<ListedFile> files_of_folder(const io::Path& folder, bool below = false);

// Sub-folders that are no leftovers, in byte order of their names: torchvision's order of classes.
std::vector<std::string> folders_in(const io::Path& folder);
// Position of a class folder among those beside it.
std::int64_t class_of_folder(const io::Path& folder);

// The parquet files that SourceSpec::parquet means for a shard: the one of its name beside it (".") or in the
// folder, else all of the folder, or the file. Throws kNotFound naming what is absent.
std::vector<io::Path> parquet_of(const io::Path& shard, const std::string& setting);

// 2.tar before 10.tar: digits compare as numbers.
bool natural_less(const std::string& a, const std::string& b);

// By the suffix of its name: a picture that is read.
bool is_picture_name(const std::string& name);

}  // namespace trireme::jobs
