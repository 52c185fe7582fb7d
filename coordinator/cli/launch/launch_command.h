// `trireme launch`: the supervisor with the right mpirun, a progress display, and the results at the end.
#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/cli/launch/host_report.h"
#include "coordinator/cli/launch/supervisor.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::cli {

struct LaunchOptions {
  std::string job;  // "": the coordinator stays up and takes jobs over HTTP
  std::vector<std::string> overrides;
  int workers = 0;      // 0: as many as the hosts have slots, 1 on one host
  io::Path run_folder;  // "": the job's output, runs/service without a job
  std::string listen;   // handed to the coordinator
  std::string mpirun = "mpirun";
  std::vector<std::string> mpirun_arguments, data_roots, output_roots;
  std::ostream* out = nullptr;
  bool is_terminal = false;
  io::Path resume_from;                 // "": from where the ledger says
  std::string hosts, hostfile;          // at most one; neither: what the batch system says, else this host
  std::vector<std::string> host_paths;  // what every host must have where it lies here
  std::string rsh_agent, network;
  bool share_gpus = false, dry_run = false;
  // Handed to coordinator and workers (common/telemetry/place.h, jobs/store/metrics_token.h).
  std::string metrics_listen, metrics_token, advertise;
};

int launch(const LaunchOptions& options);

// The hosts of the options or of the batch system, each asked; none on one host alone.
std::vector<HostAnswer> look_at_hosts(const LaunchOptions& options, const io::Path& run_folder);

// What sweep shares with it: the supervisor of `options`' coordinator and workers in `run_folder`, which
// exists. `say` gets the remarks of this and of the supervisor.
SupervisorOptions fleet_options(LaunchOptions options, const std::optional<jobs::JobSpec>& job,
                                const io::Path& run_folder,
                                const std::function<void(const std::string&)>& say);

// The end of what mpirun and its ranks complained of, a line each; for a run that failed.
std::string last_complaints(const io::Path& run_folder);

}  // namespace trireme::coordinator::cli
