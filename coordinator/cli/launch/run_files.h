// Files of a run folder that the coordinator and the supervisor share (jobs/protocol/FORMAT.md,
// coordinator/api/API.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/io/file.h"
#include "coordinator/cli/client/job_view.h"

namespace trireme::coordinator::cli {

// Adds one to <run folder>/incarnation, durably, and returns the new value; the first is 1. Throws kDamaged
// when the file holds something else.
std::uint64_t raise_incarnation(const io::Path& run_folder);

struct RunProgress {
  std::uint64_t incarnation = 0;
  std::int64_t pid = 0;
  std::int64_t committed = 0;  // grows when work was committed
  std::optional<JobView> job;
};
// Nothing when the file is missing or half readable: it is replaced twice a second.
std::optional<RunProgress> read_progress(const io::Path& run_folder);

struct Terminal {
  std::uint64_t incarnation = 0;
  std::string state, reason;
  bool retryable = true;
  int exit_code = 1;
  std::int64_t committed = -1;  // -1: not told
  std::int64_t step = 0;        // of the newest checkpoint of the stage that trained
};
std::optional<Terminal> read_terminal(const io::Path& run_folder);
void write_terminal(const io::Path& run_folder, const Terminal& terminal);

struct EndpointFile {
  std::string host, url;
  int port = 0;
  std::int64_t pid = 0;
  std::uint64_t incarnation = 0;
};
// Throws kUnavailable when there is none, kDamaged when it is not what the API writes.
EndpointFile read_endpoint(const io::Path& run_folder);

}  // namespace trireme::coordinator::cli
