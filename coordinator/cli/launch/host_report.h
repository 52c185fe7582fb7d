// What one host says of itself before a run may use it (`trireme host-report FOLDER TOKEN`, run there by the
// launching host), and what the launching host makes of all answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/cli/launch/hosts.h"

namespace trireme::coordinator::cli {

struct HostReport {
  std::string host, version, commit;  // gethostname; version() and build_commit() of the program there
  std::int64_t wall_seconds = 0;      // of its clock, for people
  std::int64_t cores = 0, numa_nodes = 1;
  std::vector<std::int64_t> gpu_nodes;  // NUMA node of each GPU that may be used, -1 where unknown
  std::string temporary;                // $TMPDIR or /tmp: Open MPI's sessions lie there
  std::string temporary_fault;          // "" when a file can be written there
  std::uint64_t temporary_free_bytes = 0;
  bool sees_folder = false;          // the token file lies in the run folder as seen from there
  std::string folder_fault;          // "" when it can write there
  std::vector<std::string> missing;  // of the paths that it was asked for
};

// Of this host. `token`: name of a file that the launching host has put into `run_folder`; waits up to two
// seconds for it to appear (network file systems show names late). `paths`: what workers will read.
HostReport host_report(const io::Path& run_folder, const std::string& token,
                       const std::vector<std::string>& paths = {});
std::string to_json(const HostReport& report);
HostReport host_report_from_json(const std::string& text);  // throws kInvalid

struct HostAnswer {
  Host host;
  HostReport report;
  std::string fault;  // why it cannot take part, "" when it can; what to do is part of it
  std::string note;   // what is odd but harmless
};

struct RemoteShell {
  std::string agent;   // as mpirun's plm_rsh_agent: "AGENT HOST COMMAND"; "" for ssh
  bool slurm = false;  // inside an allocation: srun instead
};

// Asks every host at the same time (20 s at most), each with the program at the path of ours. Slots that were
// left open are settled: one per GPU, else one per NUMA node. Answers come in the order of the hosts.
// `paths`: what every host must have where it lies here, beside trireme-worker.
std::vector<HostAnswer> ask_hosts(const std::vector<Host>& hosts, const io::Path& run_folder,
                                  const std::vector<std::string>& paths, const RemoteShell& shell,
                                  bool share_gpus);

// Whether a host of the list is this one.
bool is_local(const std::string& host);

// In single quotes, as one word of a shell's line.
std::string quoted_for_shell(const std::string& word);

// "rank 1  on a  GPU 0  NUMA node 0" for every worker, in the order of the hosts.
std::vector<std::string> placement_lines(const std::vector<HostAnswer>& answers);

}  // namespace trireme::coordinator::cli
