// The mpirun that is installed, and how Trireme starts it (RELIABILITY 8.2).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/cli/launch/hosts.h"

namespace trireme::coordinator::cli {

struct MpirunVersion {
  enum class Maker { kOpenMpi, kOther } maker = Maker::kOther;
  int major = 0, minor = 0;
  std::string text;  // first line of --version
};
MpirunVersion parse_mpirun_version(std::string_view output);

// Runs `<mpirun> --version`. Throws kNotFound without mpirun, kInvalid for one that Trireme cannot use; both
// say what to install. A note on a version that was not tried goes to `note`.
MpirunVersion check_mpirun(const std::string& mpirun, std::string& note);

struct LaunchPlan {
  std::string mpirun = "mpirun";
  std::string coordinator, worker;                 // programs
  std::vector<std::string> coordinator_arguments;  // --job, --set …
  std::vector<std::string> worker_arguments;
  std::vector<std::string> extra;  // given to mpirun as they are
  int workers = 1;                 // on this host; of no meaning with `hosts`
  // Several hosts, slots settled: workers get their ranks host by host. The coordinator runs on this one.
  std::vector<Host> hosts;
  std::string rsh_agent;  // instead of ssh: "AGENT HOST COMMAND"
  std::string network;    // interfaces or networks, as Open MPI names them: "10.0.0.0/8", "ib0"; "" for all
};
std::vector<std::string> mpirun_command(const LaunchPlan& plan, const MpirunVersion& version);

// Open MPI refuses root unless these are set: both, when we are root and the user did not decide.
std::map<std::string, std::string> root_permission(bool is_root);

// Inside a Slurm allocation (SLURM_JOB_ID) without srun, as in containers, Open MPI would start its daemons
// by srun and take the node's name for another machine. What has it start them itself; empty where srun
// works or the user has decided (OMPI_MCA_plm, OMPI_MCA_ras).
std::map<std::string, std::string> without_srun();
bool srun_is_useless();  // SLURM_JOB_ID is set, and srun is not there or has no configuration
inline constexpr const char* kWithoutSrun =
    "Slurm's variables are set, but there is no srun that works: OMPI_MCA_plm=^slurm OMPI_MCA_ras=^slurm";

}  // namespace trireme::coordinator::cli
