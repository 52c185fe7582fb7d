// The hosts that a run spreads over: named by the user, by a hostfile, or by the batch system that started
// us.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::coordinator::cli {

struct Host {
  std::string name;  // as mpirun and the remote shell take it
  int slots = 0;     // workers; 0: one per GPU there, else one per NUMA node
};

struct HostList {
  std::vector<Host> hosts;  // in the order named, each once; empty: this machine alone
  std::string source;       // "--hosts", "hostfile F", "Slurm job 12", "PBS job 7", "LSF job 3"
};

// "a:8,b:8" or "a,b"; the slots of a host named twice are added. Throws kUsage naming the part that is wrong.
std::vector<Host> parse_hosts(std::string_view text);

// Open MPI's hostfile, which is the mpi-operator's too ("host slots=8", '#' comments), and PBS's and LSF's
// lists of one line per slot. `file` is named in faults (kInvalid, with the line).
std::vector<Host> parse_hostfile(std::string_view text, const std::string& file);

// Slurm's compressed names, "gpu[01-03,7],login" -> gpu01 gpu02 gpu03 gpu7 login, and its "2(x3),1" -> 2 2
// 2 1. Throws kInvalid on anything else.
std::vector<std::string> expand_nodes(std::string_view list);
std::vector<int> expand_counts(std::string_view list);

// What the batch system says (SLURM_JOB_NODELIST, PBS_NODEFILE, LSB_DJOB_HOSTFILE,
// OMPI_MCA_orte_default_hostfile of the mpi-operator); no hosts outside of one. `get` returns a variable or
// "".
HostList hosts_of_environment(const std::function<std::string(const std::string&)>& get);

}  // namespace trireme::coordinator::cli
