// Every place of a job file that names a path of the file system, so that one list serves the checks and the
// rewriting of paths.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

struct SpecPath {
  std::string pointer;           // "/spec/data/train/sources/0/path"
  std::string* value = nullptr;  // in the job that was given; never empty, never "pretrained:…"
  bool written = false;          // an output or the store; all others are read
};

// The pointers live as long as `job` and its lists stay as they are.
std::vector<SpecPath> spec_paths(JobSpec& job);

// Relative paths become absolute, from `folder`.
void make_paths_absolute(JobSpec& job, const std::string& folder);

}  // namespace trireme::jobs
