#include "coordinator/cli/launch/launch_command.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <optional>

#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/display.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/launch/host_report.h"
#include "coordinator/cli/launch/hosts.h"
#include "coordinator/cli/launch/mpi_leftovers.h"
#include "coordinator/cli/launch/mpirun.h"
#include "coordinator/cli/launch/process.h"
#include "coordinator/cli/launch/run_files.h"
#include "coordinator/cli/launch/supervisor.h"
#include "coordinator/cli/plan/spec_file.h"
#include "coordinator/cli/recovery/ledger_command.h"
#include "coordinator/cli/results.h"
#include "jobs/store/metrics_token.h"

namespace trireme::coordinator::cli {
namespace {

constexpr int kGaveUp = 93;                  // the supervisor's exit code
constexpr std::size_t kMostHostPaths = 100;  // of one shell's line

std::string needed_program(const std::string& name) {
  const std::string found = find_program(name);
  if (found.empty())
    throw Error(ErrorKind::kNotFound, "the program " + name + " is neither beside trireme nor in $PATH",
                "build it (./quickstart build), then see 'trireme doctor'");
  return found;
}

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

HostList hosts_of(const LaunchOptions& options) {
  if (!options.hosts.empty() && !options.hostfile.empty())
    throw Error(ErrorKind::kUsage, "--hosts and --hostfile both name hosts", "give one of them");
  if (!options.hosts.empty()) return {parse_hosts(options.hosts), "--hosts"};
  if (!options.hostfile.empty())
    return {parse_hostfile(io::read_file(options.hostfile, 64U << 20), options.hostfile),
            "hostfile " + options.hostfile};
  HostList found = hosts_of_environment(variable);
  if (found.source.rfind("Slurm", 0) != 0 || !srun_is_useless()) return found;
  if (found.hosts.size() > 1)
    throw Error(ErrorKind::kInvalid,
                found.source + " has " + std::to_string(found.hosts.size()) +
                    " nodes, and no srun here can reach them",
                "start outside of the container, or name hosts that ssh reaches with --hosts");
  return {};  // its one node is this machine, whatever that is called in here
}

// -n shares its workers out evenly, the first hosts take what is left over.
void spread(std::vector<HostAnswer>& answers, int workers) {
  const int hosts = static_cast<int>(answers.size());
  if (workers < hosts)
    throw Error(
        ErrorKind::kUsage,
        "-n " + std::to_string(workers) + " leaves some of " + std::to_string(hosts) + " hosts without work",
        "name fewer hosts, or leave -n out");
  for (int i = 0; i < hosts; ++i)
    answers[static_cast<std::size_t>(i)].host.slots = workers / hosts + (i < workers % hosts);
}

// Every host is looked at before anything starts; one line per host that cannot take part.
std::vector<Host> settle_hosts(const LaunchOptions& options, const io::Path& run_folder,
                               const std::function<void(const std::string&)>& say) {
  auto answers = look_at_hosts(options, run_folder);
  if (answers.empty()) return {};
  int faults = 0;
  for (const auto& answer : answers) {
    if (!answer.fault.empty()) say("host " + answer.host.name + " " + answer.fault);
    if (!answer.note.empty()) say("host " + answer.host.name + ": " + answer.note);
    faults += !answer.fault.empty();
  }
  if (faults > 0)
    throw Error(ErrorKind::kUnavailable,
                std::to_string(faults) + " of " + std::to_string(answers.size()) + " hosts cannot take part",
                "mend what the lines above say, or leave them out with --hosts");
  if (options.workers > 0) spread(answers, options.workers);
  for (const auto& line : placement_lines(answers)) say(line);
  std::vector<Host> hosts;
  for (const auto& answer : answers) hosts.push_back(answer.host);
  return hosts;
}

// Those that cannot take part now are left out of this start, and asked again at the next. Where none can,
// this one among them, nothing is to be waited for: kUnavailable.
std::vector<Host> hosts_that_answer(const std::vector<Host>& wanted, const std::vector<HostAnswer>& answers,
                                    const std::function<void(const std::string&)>& say) {
  std::vector<Host> there;
  for (const Host& host : wanted) {
    const auto answer = std::find_if(answers.begin(), answers.end(),
                                     [&](const auto& one) { return one.host.name == host.name; });
    const bool named = answer != answers.end();
    if (named && answer->fault.empty())
      there.push_back(host);
    else
      say("host " + host.name + " is left out until the next start: it " +
          (named ? answer->fault : "is not named any more"));
  }
  if (there.empty())
    throw Error(ErrorKind::kUnavailable, "none of the hosts can take part any more",
                "mend what the lines above say, then start the same command again to go on");
  return there;
}

// What workers read by path, as far as it lies here; what does not is the planner's to say.
std::vector<std::string> paths_of_workers(const std::optional<jobs::JobSpec>& job) {
  std::vector<std::string> wanted, paths;
  if (job) {
    for (const auto& [name, data] : job->spec.data)
      for (const auto& source : data.sources) wanted.push_back(source.path);
    for (const auto& [name, model] : job->spec.models)
      wanted.insert(wanted.end(), {model.init_from, model.image.weights, model.text.weights});
  }
  for (const auto& path : wanted)
    if (!path.empty() && io::exists(path) && paths.size() < kMostHostPaths)
      paths.push_back(io::absolute(path).lexically_normal().string());
  return paths;
}

LaunchPlan plan_of(const LaunchOptions& options, const io::Path& run_folder, std::vector<Host> hosts) {
  LaunchPlan plan;
  plan.hosts = std::move(hosts);
  plan.rsh_agent = options.rsh_agent;
  plan.network = options.network;
  plan.mpirun = options.mpirun;
  plan.coordinator = needed_program("trireme-coordinator");
  plan.worker = needed_program("trireme-worker");
  plan.workers = std::max(1, options.workers);
  plan.extra = options.mpirun_arguments;
  auto& arguments = plan.coordinator_arguments;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) arguments.insert(arguments.end(), {name, value});
  };
  add("--job", options.job);
  for (const auto& override_text : options.overrides) add("--set", override_text);
  if (options.job.empty() || !options.run_folder.empty()) add("--run-dir", run_folder.string());
  add("--listen", options.listen);
  for (const auto& root : options.data_roots) add("--data-root", root);
  for (const auto& root : options.output_roots) add("--output-root", root);
  std::string token;
  if (!options.metrics_token.empty()) {
    token = io::absolute(options.metrics_token).lexically_normal().string();
    store::read_metrics_token(token);  // what is wrong with it is said before anything starts
  }
  for (const auto& [name, value] : {std::pair{"--metrics-listen", options.metrics_listen},
                                    {"--metrics-token", token},
                                    {"--advertise", options.advertise}}) {
    add(name, value);
    if (!value.empty()) plan.worker_arguments.insert(plan.worker_arguments.end(), {name, value});
  }
  if (options.share_gpus) plan.worker_arguments.push_back("--share-gpus");
  return plan;
}

// As a shell would need it.
std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_-./:=,+@%") == std::string::npos;
  return plain ? word : quoted_for_shell(word);
}

// Open MPI's frame round the line that matters.
bool says_nothing(const std::string& line) {
  for (const char* frame : {"Primary job  terminated normally", "Primary job terminated normally",
                            "mpirun detected that one or more processes exited", "a non-zero exit code.",
                            "thus causing", "Per user-direction, the job has been aborted"})
    if (line.find(frame) != std::string::npos) return true;
  return false;
}

constexpr std::chrono::minutes kCalm{10};

SupervisorOptions supervisor_options(const std::optional<jobs::JobSpec>& job, const io::Path& run_folder) {
  SupervisorOptions options;
  options.run_folder = run_folder;
  if (!job) {
    options.calm = kCalm;
    return options;
  }
  options.retry = job->spec.retry;
  const auto& timeouts = job->spec.timeouts;
  const auto milliseconds = [](double seconds) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
  };
  options.start_limit = milliseconds(timeouts.first_heartbeat_seconds + 60);
  options.pulse_limit = milliseconds(timeouts.dead_seconds + 20);
  options.frozen_limit = milliseconds(std::max(timeouts.dead_seconds, 2.0));
  options.stop_limit = milliseconds(timeouts.stop_seconds + 10);  // the coordinator gives up first
  return options;
}

// Variables by which people change what mpirun does.
std::string mpirun_settings() {
  std::string set;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::string_view(*entry).starts_with("OMPI_MCA_"))
      set += (set.empty() ? "" : ", ") + printable(*entry, 200);
  return set;
}

int report_end(const LaunchOptions& options, const io::Path& run_folder, const SupervisorResult& result) {
  std::ostream& out = *options.out;
  const auto progress = read_progress(run_folder);
  if (progress && progress->job && result.state == store::EndState::kSucceeded)
    out << "\n" << results_text(*progress->job);
  if (result.exit_code == 0) return 0;
  // What mpirun said is worth reading only where the coordinator could not say why; ours is the last word.
  const auto told = store::read_terminal({run_folder});
  const bool by_coordinator = told && told->state == store::EndState::kFailed && told->exit_code != kGaveUp;
  if (result.state == store::EndState::kFailed && !by_coordinator)
    if (const std::string complaints = last_complaints(run_folder); !complaints.empty())
      out << "\nLast lines of mpirun:\n" << complaints;
  out << "\n" << name_of(result.state) << ": " << printable_lines(result.reason) << "\n";
  if (result.exit_code == 75) {
    out << "Start the same command again to go on"
        << (told && told->step > 0 ? " at step " + std::to_string(told->step) : "") << ".\n";
  } else if (result.state == store::EndState::kFailed) {
    out << "Logs: " << store::RunPaths{run_folder}.logs().string()
        << "/rank-<r>.log, and mpirun.log beside them\n";
    if (const std::string set = mpirun_settings(); !set.empty() && !by_coordinator)
      out << "mpirun had these settings of the environment: " << set << "\n";
  }
  return result.exit_code;
}

}  // namespace

std::vector<HostAnswer> look_at_hosts(const LaunchOptions& options, const io::Path& run_folder) {
  const HostList list = hosts_of(options);
  if (list.hosts.empty()) return {};
  return ask_hosts(list.hosts, run_folder, options.host_paths,
                   {options.rsh_agent, list.source.rfind("Slurm", 0) == 0}, options.share_gpus);
}

std::string last_complaints(const io::Path& run_folder) {
  io::LineReader file(store::RunPaths{run_folder}.mpirun_log());
  std::deque<std::string> lines;
  for (std::string line; file.next(line);) {
    if (line.empty() || line.find_first_not_of('-') == std::string::npos || says_nothing(line)) continue;
    lines.push_back(line);
    if (lines.size() > 12) lines.pop_front();
  }
  std::string text;
  for (const auto& line : lines) text += "  " + printable(line, 400) + "\n";
  return text;
}

SupervisorOptions fleet_options(LaunchOptions options, const std::optional<jobs::JobSpec>& job,
                                const io::Path& run_folder,
                                const std::function<void(const std::string&)>& say) {
  // Its variables would have ours look for that mpirun and end without a word.
  if (!variable("OMPI_COMM_WORLD_RANK").empty())
    throw Error(
        ErrorKind::kInvalid,
        "trireme launch starts mpirun itself, and it runs inside another one (OMPI_COMM_WORLD_RANK is set)",
        "start it without mpirun, or first: unset ${!OMPI_*} ${!PMIX_*}");
  std::string note;
  const MpirunVersion version = check_mpirun(options.mpirun, note);
  if (!note.empty()) say(note);
  SupervisorOptions supervisor = supervisor_options(job, run_folder);
  sweep_mpi_leftovers(variable("TMPDIR").empty() ? "/tmp" : variable("TMPDIR"));
  options.host_paths = paths_of_workers(job);
  const LaunchPlan plan = plan_of(options, run_folder, settle_hosts(options, run_folder, say));
  supervisor.command = mpirun_command(plan, version);
  if (plan.hosts.size() > 1)
    supervisor.next_command = [plan, version, say, options, run_folder] {
      LaunchPlan next = plan;
      next.hosts = hosts_that_answer(plan.hosts, look_at_hosts(options, run_folder), say);
      return mpirun_command(next, version);
    };
  supervisor.environment = root_permission(::geteuid() == 0);
  if (!supervisor.environment.empty()) say("running as root: OMPI_ALLOW_RUN_AS_ROOT is set for mpirun");
  if (const auto alone = without_srun(); !alone.empty()) {
    say(std::string(kWithoutSrun) + " are set for mpirun, which starts the workers on this machine");
    supervisor.environment.insert(alone.begin(), alone.end());
  }
  supervisor.say = say;
  int workers = plan.hosts.empty() ? plan.workers : 0;
  for (const Host& host : plan.hosts) workers += host.slots;
  say("run folder " + run_folder.string() + ", " + std::to_string(workers) +
      (workers == 1 ? " worker" : " workers") +
      (plan.hosts.size() > 1 ? " on " + std::to_string(plan.hosts.size()) + " hosts" : std::string()) + ", " +
      version.text);
  return supervisor;
}

int launch(const LaunchOptions& options) {
  std::optional<jobs::JobSpec> job;
  if (!options.job.empty()) job = read_job_file(options.job, options.overrides);
  io::Path run_folder = options.run_folder;
  if (run_folder.empty()) run_folder = job ? io::Path(job->spec.output) : io::Path("runs/service");
  run_folder = io::absolute(run_folder).lexically_normal();
  io::make_folders(run_folder);
  if (!options.resume_from.empty()) {
    if (!job)
      throw Error(ErrorKind::kUsage, "--resume-from needs a job file",
                  "name the job that the checkpoint is of");
    const io::Path output = io::absolute(job->spec.output).lexically_normal();
    start_from_checkpoint(run_folder, output, options.resume_from, *options.out);
  }

  const RealClock clock;
  Display display(*options.out, options.is_terminal, clock);
  SupervisorOptions supervisor =
      fleet_options(options, job, run_folder, [&](const std::string& line) { display.say(line); });
  if (options.dry_run) {
    std::string line;
    for (const auto& word : supervisor.command) line += (line.empty() ? "" : " ") + shell_word(word);
    *options.out << line << "\n";
    return 0;
  }
  const auto stale = read_progress(run_folder);  // of an earlier run in the same folder
  auto next = clock.now();
  supervisor.on_poll = [&] {
    if (clock.now() < next) return;
    next = clock.now() + std::chrono::milliseconds(200);
    const auto progress = read_progress(run_folder);
    if (!progress || !progress->job) return;
    if (stale && progress->incarnation == stale->incarnation) return;
    display.update(*progress->job);
  };
  catch_stop_signals();
  const SupervisorResult result = supervise(supervisor);
  next = clock.now();
  supervisor.on_poll();
  display.finish();
  return report_end(options, run_folder, result);
}

}  // namespace trireme::coordinator::cli
