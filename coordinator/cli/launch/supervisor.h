// Keeps one run going (RELIABILITY 8.2): lock, incarnation, mpirun, watch, kill, back off, again. Not an MPI
// process; decides by terminal.json, by the pulses of ranks that start (common/io/pulse.h) and by
// progress.json, never by mpirun's exit code; and does not wait for mpirun once it has decided.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/cli/launch/signs.h"
#include "jobs/specification/job_spec.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {

struct SupervisorOptions {
  std::vector<std::string> command;  // mpirun and all its arguments
  // The command after a start that may have failed for a host's sake (hosts that do not answer are left out,
  // and come back); null: the same again. Waits as long as it takes, but ends when a stop is asked for.
  std::function<std::vector<std::string>()> next_command;
  std::map<std::string, std::string> environment;  // besides TRIREME_*
  io::Path run_folder;
  jobs::RetrySpec retry;
  // Of a standing coordinator, which may have nothing to do for weeks: a start that lasted so long is none in
  // a row with the next, and starts are not numbered. Absent: a job, whose progress alone counts.
  std::optional<std::chrono::milliseconds> calm;
  std::chrono::milliseconds look{200};            // at files while mpirun runs; its end is seen at once
  std::chrono::milliseconds poll{20};             // while waiting for anything else
  std::chrono::milliseconds start_limit{180000};  // until the first progress.json of an incarnation
  std::chrono::milliseconds pulse_limit{30000};   // between two changes of it, where no pulse is
  std::chrono::milliseconds frozen_limit{10000};  // between two beats of a rank's pulse
  std::chrono::milliseconds stop_limit{40000};    // from the first signal to the end
  std::chrono::milliseconds kill_limit{2000};     // from SIGTERM to SIGKILL
  std::chrono::milliseconds leave_limit{3000};    // from terminal.json to mpirun's own end
  std::function<std::uint64_t()> kills_for_memory = cli::kills_for_memory;  // by the kernel, on this host
  std::function<void()> on_poll = [] {};                                    // progress display
  std::function<bool()> finished = [] { return false; };  // true: a standing coordinator is asked to leave
  std::function<void(const std::string&)> say = [](const std::string&) {};  // one line per event
};

struct SupervisorResult {
  int exit_code = 1;  // 0, 1, …; 75: stopped, start again to go on; 93: do not start again
  store::EndState state = store::EndState::kFailed;
  std::string reason;
  int incarnations = 0;
};

// Signals that ask for an end, counted by a handler of SIGINT, SIGTERM and SIGHUP (a closed terminal). The
// first is passed on to the coordinator as "checkpoint and stop", the second kills.
void catch_stop_signals();
int stop_signals();
void reset_stop_signals();  // tests

// Throws kConflict (exit 4) when another supervisor holds the run folder. One at a time per process.
SupervisorResult supervise(const SupervisorOptions& options);

// Wait before start number `failures` + 1 in a row without progress: 0, b, 2b, 4b … at most `most`.
std::chrono::duration<double> backoff(int failures, double base_seconds, double most_seconds);

}  // namespace trireme::coordinator::cli
