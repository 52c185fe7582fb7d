// Specifications that come over HTTP may touch only the folders that the operator gave.
#pragma once

#include <string>
#include <vector>

#include "common/io/file.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::api {

// Whether `path`, with every symbolic link and ".." resolved, lies in `root` or is it.
bool is_under(const io::Path& path, const io::Path& root);

// One fault per path that is read outside `data_roots`, written outside `output_roots`, or lies in the
// coordinator's own run folder.
std::vector<jobs::SpecFault> paths_outside_roots(jobs::JobSpec job, const std::vector<io::Path>& data_roots,
                                                 const std::vector<io::Path>& output_roots,
                                                 const io::Path& run_folder);

}  // namespace trireme::coordinator::api
