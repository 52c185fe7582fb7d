// Child processes of the command line: started in a process group of their own, found again by a mark in
// their environment, ended for certain.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

struct Spawn {
  std::vector<std::string> command;                // the first is looked up in $PATH unless it holds a slash
  std::map<std::string, std::string> environment;  // on top of ours
  io::Path output;                                 // stdout and stderr are appended here
};

// Leads its own process group, reads /dev/null, and gets SIGTERM when we die. Throws kNotFound for a program
// that is not there.
pid_t spawn(const Spawn& what);

// How it ended, once it has; reaps it.
struct Ended {
  int code = 0;    // 128 + signal when killed
  int signal = 0;  // that killed it, 0: it left by itself
};
std::optional<Ended> ended(pid_t child);
// Returns when the child ends, when a signal was handled, and at the latest after `at_most`.
void wait_for_end(pid_t child, std::chrono::milliseconds at_most);

// Processes whose environment holds `name=value` and that are not zombies.
std::vector<pid_t> processes_marked(const std::string& name, const std::string& value);
std::string command_name(pid_t process);  // as in /proc/<pid>/comm, "" when gone

// stdout and stderr of a short-lived command, cut at 64 KiB, and its exit code; 127 when it cannot be
// started.
struct Captured {
  int exit_code = 127;
  std::string output;
};
Captured capture(const std::vector<std::string>& command,
                 std::chrono::seconds limit = std::chrono::seconds(20));

// `name` beside our own program, else in $PATH; "" when it is in neither.
std::string find_program(const std::string& name);

// This process goes on as `trireme-worker tool` with the same words (arguments[0] apart): tensors are the
// worker's. Does not return. Throws kNotFound.
int become_worker_tool(int argument_count, char** arguments);

}  // namespace trireme::coordinator::cli
