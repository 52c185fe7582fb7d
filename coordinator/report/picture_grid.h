// Grids of kept and dropped samples from the thumbnails that filter tasks wrote (jobs/protocol/FORMAT.md
// "Thumbnails").
#pragma once

#include <string>
#include <vector>

namespace trireme::coordinator::report {

// At most `most_per_group` pictures for "kept" and for each rule, spread over the files; unreadable files and
// lines are passed over.
std::string picture_grids(const std::vector<std::string>& thumbnail_files, std::size_t most_per_group = 12);

}  // namespace trireme::coordinator::report
