// `trireme checkpoints RUN`: the training checkpoints of an output folder, also those of other settings.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

// Stage, what its settings have otherwise than the job of now (spec.json), step, size. Reads the disk alone,
// so that it works while the job runs.
int list_checkpoints(const io::Path& output, bool json, std::ostream& out);

// Each name: "<stage>/step-…", a path, or "other-settings". Marks them retired in the ledger of `run_folder`,
// then removes them. Throws kNotFound, and kConflict while the run is going on.
int remove_checkpoints(const io::Path& output, const io::Path& run_folder,
                       const std::vector<std::string>& names, std::ostream& out);

}  // namespace trireme::coordinator::cli
