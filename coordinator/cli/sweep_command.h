// `trireme sweep`: the runs of a sweep file on one fleet, and one table at the end.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "coordinator/cli/launch/launch_command.h"

namespace trireme::coordinator::cli {

struct SweepOptions {
  std::string file;
  LaunchOptions fleet;  // workers, mpirun and out; its run_folder, when given, is the sweep's output
  bool retry_failed = false, dry_run = false, json = false;
};

// 0: all runs succeeded; 1: one or more failed (they are in the table with their reasons); 75: stopped, the
// same command goes on; what launch returns when the fleet itself cannot run. Throws kInvalid with all faults
// of the sweep file, kConflict when another command holds the sweep's folder.
int sweep_jobs(const SweepOptions& options);

}  // namespace trireme::coordinator::cli
