#include "coordinator/cli/launch/mpirun.h"

#include <cctype>
#include <cstdlib>
#include <set>
#include <string_view>

#include <unistd.h>

#include "common/base/error.h"
#include "coordinator/cli/launch/host_report.h"
#include "coordinator/cli/launch/process.h"

namespace trireme::coordinator::cli {
namespace {

constexpr const char* kInstall = "on Debian: apt-get install openmpi-bin (Open MPI 4.1)";

void append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// Of our environment, what must be the same on all hosts: where and how is computed, and NCCL's own.
// CUDA_VISIBLE_DEVICES is each host's.
std::set<std::string> device_settings() {
  std::set<std::string> names;
  for (const char* name : {"TRIREME_DEVICE", "TRIREME_TRAINING_GRAPHS", "TRIREME_STEP_READS",
                           "TRIREME_PAIR_TILE", "TRIREME_CUDA_PLUGIN"})
    if (std::getenv(name) != nullptr) names.emplace(name);
  for (char** one = environ; *one != nullptr; ++one)
    if (const std::string_view set(*one); set.rfind("NCCL_", 0) == 0)
      names.emplace(set.substr(0, set.find('=')));
  return names;
}

// The name that the list has for this host, else our own.
std::string coordinator_host(const LaunchPlan& plan) {
  for (const Host& host : plan.hosts)
    if (is_local(host.name)) return host.name;
  return "localhost";
}

// An allocation that another hostfile describes would refuse hosts that it does not name, the launcher's
// among them; ours are complete.
std::vector<std::string> host_settings(const LaunchPlan& plan, const MpirunVersion& version) {
  std::vector<std::string> settings;
  const std::string daemon = version.major < 5 ? "oob_tcp_if_include" : "prte_if_include";
  if (!plan.hosts.empty() && version.major < 5) append(settings, {"--mca", "orte_default_hostfile", "none"});
  if (!plan.rsh_agent.empty())
    append(settings, {"--mca", "plm_rsh_agent", plan.rsh_agent, "--mca", "plm_rsh_no_tree_spawn", "1"});
  if (!plan.network.empty())
    append(settings, {"--mca", "btl_tcp_if_include", plan.network, "--mca", daemon, plan.network});
  return settings;
}

}  // namespace

MpirunVersion parse_mpirun_version(std::string_view output) {
  MpirunVersion version;
  version.text = output.substr(0, output.find('\n'));
  const std::size_t at = version.text.find("(Open MPI) ");
  if (at == std::string::npos) return version;
  const char* digits = version.text.c_str() + at + 11;
  char* end = nullptr;
  version.major = static_cast<int>(std::strtol(digits, &end, 10));
  if (end == digits) return version;
  if (*end == '.') version.minor = static_cast<int>(std::strtol(end + 1, nullptr, 10));
  version.maker = MpirunVersion::Maker::kOpenMpi;
  return version;
}

MpirunVersion check_mpirun(const std::string& mpirun, std::string& note) {
  const Captured answer = capture({mpirun, "--version"});
  if (answer.exit_code == 127) throw Error(ErrorKind::kNotFound, mpirun + " is not there", kInstall);
  const MpirunVersion version = parse_mpirun_version(answer.output);
  if (version.maker != MpirunVersion::Maker::kOpenMpi)
    throw Error(ErrorKind::kInvalid, mpirun + " is not Open MPI's: it says '" + version.text + "'",
                std::string(kInstall) + ", or name the right one with --mpirun");
  if (version.major < 4 || (version.major == 4 && version.minor < 1))
    throw Error(ErrorKind::kInvalid, mpirun + " is too old: " + version.text, kInstall);
  if (version.major != 4)
    note =
        version.text +
        ": Trireme is tested with Open MPI 4.1; 5.x is expected to work, with slower detection of lost hosts";
  return version;
}

std::vector<std::string> mpirun_command(const LaunchPlan& plan, const MpirunVersion& version) {
  std::vector<std::string> command{plan.mpirun};
  if (version.major < 5)
    append(command,
           {"--mca", "odls_base_sigkill_timeout", "0", "--mca", "oob_tcp_keepalive_time", "2", "--mca",
            "oob_tcp_keepalive_intvl", "1", "--mca", "oob_tcp_keepalive_probes", "3", "--oversubscribe"});
  else
    append(command, {"--map-by", ":OVERSUBSCRIBE"});
  append(command, {"--bind-to", "none"});
  append(command, host_settings(plan, version));
  append(command, plan.extra);
  const auto add_programs = [&](int count, const std::string& host, const std::string& program,
                                const std::vector<std::string>& arguments) {
    append(command, {"-n", std::to_string(count)});
    if (!host.empty()) append(command, {"--host", host + ":" + std::to_string(count)});
    append(command, {"-x", "TRIREME_INCARNATION", "-x", "TRIREME_SUPERVISOR_PID", "-x", "TRIREME_LOG_DIR"});
    for (const auto& name : device_settings()) append(command, {"-x", name});
    command.push_back(program);
    append(command, arguments);
  };
  add_programs(1, plan.hosts.empty() ? "" : coordinator_host(plan), plan.coordinator,
               plan.coordinator_arguments);
  for (const Host& host : plan.hosts.empty() ? std::vector<Host>{{"", plan.workers}} : plan.hosts) {
    command.push_back(":");
    add_programs(host.slots, host.name, plan.worker, plan.worker_arguments);
  }
  return command;
}

std::map<std::string, std::string> root_permission(bool is_root) {
  if (!is_root || std::getenv("OMPI_ALLOW_RUN_AS_ROOT") != nullptr) return {};
  return {{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}};
}

bool srun_is_useless() {
  if (std::getenv("SLURM_JOB_ID") == nullptr && std::getenv("SLURM_JOBID") == nullptr) return false;
  if (capture({"srun", "--version"}).exit_code == 127) return true;
  // Installed, but no configuration leads to a controller: what a container brings along.
  return capture({"scontrol", "ping"}).output.find("configuration source") != std::string::npos;
}

std::map<std::string, std::string> without_srun() {
  const bool decided = std::getenv("OMPI_MCA_plm") != nullptr || std::getenv("OMPI_MCA_ras") != nullptr;
  if (decided || !srun_is_useless()) return {};
  return {{"OMPI_MCA_plm", "^slurm"}, {"OMPI_MCA_ras", "^slurm"}};
}

}  // namespace trireme::coordinator::cli
