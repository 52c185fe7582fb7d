// `trireme launch`: the supervisor with the right mpirun, a progress display, and the results at the end.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "common/io/file.h"

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
};

int launch(const LaunchOptions& options);

}  // namespace trireme::coordinator::cli
