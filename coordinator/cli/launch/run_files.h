// Files of a run folder as the command line sees them (jobs/store/run_files.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "coordinator/cli/client/job_view.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {

struct RunProgress {
  std::uint64_t incarnation = 0;
  std::int64_t pid = 0;
  std::int64_t committed = 0;  // grows when work was committed
  std::optional<JobView> job;
};
// Nothing when the file is missing or half readable: it is replaced twice a second.
std::optional<RunProgress> read_progress(const io::Path& run_folder);

// Whether a start was in vain. The number of committed work is one job's: of the next one it counts from
// nothing.
class Headway {
 public:
  explicit Headway(const std::optional<RunProgress>& before);
  // `told`: what the terminal file says, -1 without one. True: more than ever before.
  bool made(const std::optional<RunProgress>& now, std::int64_t told);
  std::int64_t best() const { return best_; }

 private:
  std::int64_t best_ = 0;
  std::string job_;  // "" until one was seen
};

struct EndpointFile : store::Endpoint {
  std::string host;
  int port = 0;
};
// Throws kUnavailable when there is none, kDamaged when it is not what the API writes.
EndpointFile read_endpoint(const io::Path& run_folder);

}  // namespace trireme::coordinator::cli
