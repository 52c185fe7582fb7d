// `trireme doctor`: what is installed, what is missing, and what to do about it.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/cli/launch/launch_command.h"

namespace trireme::coordinator::cli {

struct Check {
  enum class State { kGood, kNote, kMissing } state = State::kGood;
  std::string name, found;  // what there is
  std::string advice;       // what to do; "" when all is well
};

struct DoctorOptions {
  std::string mpirun = "mpirun";
  io::Path output = "runs";  // whose disk is looked at
  LaunchOptions hosts;       // --hosts, --hostfile or the batch system's: each is asked, as launch does
};
std::vector<Check> run_checks(const DoctorOptions& options);

// Prints them; 0 when nothing that a run needs is missing, else 1. `json`: one document instead.
int print_checks(const std::vector<Check>& checks, bool json, std::ostream& out);

}  // namespace trireme::coordinator::cli
