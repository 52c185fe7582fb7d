// What the options of the `trireme` command are read into, and options that several commands have.
#pragma once

#include <cstdint>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/client_commands.h"

namespace CLI {
class App;
}

namespace trireme::coordinator::cli {

// One command runs per process.
struct Given {
  std::string job, file, key, state, run = "runs/service", run_folder, listen, resume_from,
                                     output_format = "text", mpirun = "mpirun";
  std::vector<std::string> overrides, mpirun_arguments, data_roots, output_roots;
  std::string hosts, hostfile, rsh_agent, network, metrics_listen, metrics_token, advertise;
  int workers = 0, rank = -1;
  std::int64_t limit = 100, tail = -1;
  std::uint64_t after = 0;
  std::vector<std::string> removed;
  std::string model, suite, task = "auto";
  std::vector<std::string> data, against, also;
  bool wait = false, follow = false, retry_failed = false, dry_run = false, afresh = false,
       share_gpus = false, requeue = false;
  std::function<int()> command;

  io::Path whole_run_folder() const { return io::absolute(run_folder).lexically_normal(); }
  bool json() const { return output_format == "json"; }
  ClientOptions client() const { return {run, json(), &std::cout, ::isatty(STDOUT_FILENO) == 1}; }
};

void add_format(CLI::App& command, Given& given);  // -o
void add_sets(CLI::App& command, Given& given);    // --set

// Commands that talk to a coordinator (job_commands.cpp).
void add_jobs(CLI::App& app, Given& given);
void add_one_job(CLI::App& app, Given& given);

}  // namespace trireme::coordinator::cli
