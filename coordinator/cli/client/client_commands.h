// Commands that talk to a coordinator over HTTP. Each returns the process's exit code, or throws Error.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

struct ClientOptions {
  io::Path run_folder = "runs/service";
  bool json = false;  // -o json: the API's documents as they are
  std::ostream* out = nullptr;
  bool is_terminal = false;
};

int submit_job(const ClientOptions& options, const std::string& file,
               const std::vector<std::string>& overrides, const std::string& key, bool wait);
int list_jobs(const ClientOptions& options, const std::string& state, std::int64_t limit);
int describe_job(const ClientOptions& options, const std::string& job);
// Until the job is in a final state; 0 when it succeeded, 1 otherwise.
int watch_job(const ClientOptions& options, const std::string& job);
int show_events(const ClientOptions& options, const std::string& job, std::uint64_t after,
                std::int64_t limit);
int cancel_job(const ClientOptions& options, const std::string& job);

// `job` may also be a run folder or an output folder: its files are read then, whether a coordinator runs or
// not.
int show_logs(const ClientOptions& options, const std::string& job, bool follow, int rank, std::int64_t tail);
// Prints where report.html lies, after having it written anew when a coordinator runs; `file`: saved there.
int make_report(const ClientOptions& options, const std::string& job, const std::string& file);

}  // namespace trireme::coordinator::cli
