// `trireme launch`: the supervisor with the right mpirun, a progress display, and the results at the end.
#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/cli/launch/supervisor.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::cli {

struct LaunchOptions {
  std::string job;  // "": the coordinator stays up and takes jobs over HTTP
  std::vector<std::string> overrides;
  int workers = 1;
  io::Path run_folder;  // "": the job's output, runs/service without a job
  std::string listen;   // handed to the coordinator
  std::string mpirun = "mpirun";
  std::vector<std::string> mpirun_arguments, data_roots, output_roots;
  std::ostream* out = nullptr;
  bool is_terminal = false;
  io::Path resume_from;  // "": from where the ledger says
};

int launch(const LaunchOptions& options);

// What sweep shares with it: the supervisor of `options`' coordinator and workers in `run_folder`, which
// exists. `say` gets the remarks of this and of the supervisor.
SupervisorOptions fleet_options(const LaunchOptions& options, const std::optional<jobs::JobSpec>& job,
                                const io::Path& run_folder,
                                const std::function<void(const std::string&)>& say);

// The end of what mpirun and its ranks complained of, a line each; for a run that failed.
std::string last_complaints(const io::Path& run_folder);

}  // namespace trireme::coordinator::cli
