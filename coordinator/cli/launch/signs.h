// What the supervisor sees of its processes: who died, as mpirun and the kernel tell it, and who stands
// still.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/io/folder.h"
#include "coordinator/cli/launch/process.h"

namespace trireme::coordinator::cli {

struct CauseOfEnd {
  std::string text;  // "worker 2 was killed by signal 9 (out of memory)"
  int worker = 0;    // that was killed by a signal; 0: none
  bool out_of_memory = false;
};
// From what mpirun and ranks wrote into `log` from byte `begin` on, how it ended, and how many processes of
// this host the kernel has killed for memory meanwhile.
CauseOfEnd cause_of_end(const io::Path& log, std::uint64_t begin, const Ended& end,
                        std::uint64_t kills_for_memory);

// An exit code of a rank that would be the same after another start: the command line is off, or somebody
// else holds what it needs.
bool hopeless(int code);

// Since this host has started (/proc/vmstat).
std::uint64_t kills_for_memory();

bool is_stopped(pid_t process);  // by SIGSTOP; not by a debugger
// Of progress.json; changes whenever the file is replaced.
std::optional<io::FileStatus> progress_stamp(const io::Path& run_folder);

}  // namespace trireme::coordinator::cli
