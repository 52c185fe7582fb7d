#include "coordinator/app.h"

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <thread>

#include <unistd.h>
#include <CLI/CLI.hpp>

#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/io/door.h"
#include "common/io/folder.h"
#include "common/io/pulse.h"
#include "common/mailbox/mpi/launcher.h"
#include "common/mailbox/mpi/world.h"
#include "common/telemetry/metrics.h"
#include "common/telemetry/place.h"
#include "coordinator/api/server.h"
#include "coordinator/checkpoints/survey.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/service/service.h"
#include "jobs/checkpoint/checkpoint_config.h"
#include "jobs/protocol/version.h"
#include "jobs/specification/spec_paths.h"
#include "jobs/store/metrics_token.h"
#include "jobs/store/published.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator {
namespace {

struct Arguments {
  std::string job, run_folder, listen = "127.0.0.1:0", metrics_listen, metrics_token, advertise;
  std::vector<std::string> overrides, data_roots, output_roots, allowed_hosts;
};

std::string environment(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value != nullptr && *value != 0 ? value : otherwise;
}

std::uint64_t environment_number(const char* name) {
  return std::strtoull(environment(name, "0").c_str(), nullptr, 10);
}

void describe_arguments(CLI::App& program, Arguments& given) {
  program.set_version_flag("--version", std::string("trireme-coordinator ") + version());
  program.add_option("--job", given.job, "run this job file and leave with its outcome");
  program.add_option("--set", given.overrides, "change a value of the job file: spec.data.train=PATH")
      ->allow_extra_args(false);
  program.add_option(
      "--run-dir", given.run_folder,
      "folder of ledger, logs and endpoint; with --job the job's output (default: runs/service)");
  program.add_option("--listen", given.listen, "address of the HTTP API; port 0: a free one");
  program.add_option("--metrics-listen", given.metrics_listen,
                     "address of the metrics, ADDRESS[:PORT] (default 127.0.0.1)");
  program.add_option("--metrics-token", given.metrics_token,
                     "file with the bearer token that a scrape must bring (default: none is asked for)");
  program.add_option("--advertise", given.advertise,
                     "how discovery names this host: hostname, a name, or a network whose address it has");
  program.add_option("--data-root", given.data_roots, "specs sent over HTTP may read under this folder")
      ->allow_extra_args(false);
  program.add_option("--output-root", given.output_roots, "specs sent over HTTP may write under this folder")
      ->allow_extra_args(false);
  program.add_option("--allow-host", given.allowed_hosts, "name accepted in the Host header")
      ->allow_extra_args(false);
}

jobs::JobSpec read_job(const Arguments& given) {
  auto read = jobs::read_job(io::read_file(given.job, 1U << 20), given.overrides);
  std::string text;
  for (const auto& fault : read.faults)
    text +=
        "\n  " + fault.pointer + ": " + fault.detail + (fault.hint.empty() ? "" : " (" + fault.hint + ")");
  if (!read.ok()) throw Error(ErrorKind::kInvalid, given.job + " cannot be run:" + text);
  jobs::make_paths_absolute(read.job, io::working_folder().string());
  read.job.spec.store = store::store_of(read.job.spec);
  jobs::settle_models(read.job);
  return std::move(read.job);
}

// What went wrong before a service could say so, for the supervisor. A run that somebody else holds is left
// alone, and so is one that was merely started wrongly.
void tell_supervisor(const std::optional<service::RunFolder>& folder, ErrorKind kind,
                     const std::string& why) {
  if (!folder || kind == ErrorKind::kConflict || kind == ErrorKind::kUsage) return;
  const bool again = kind == ErrorKind::kTryAgain;
  try {
    folder->write_terminal(
        {again ? store::EndState::kRestart : store::EndState::kFailed, why, again, exit_code(kind)});
  } catch (const Error& error) {
    log_error("coordinator", error.what());
  }
}

// All mean "checkpoint and stop". Under nohup a closed terminal is to be ignored.
sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  struct sigaction hangup {};
  if (::sigaction(SIGHUP, nullptr, &hangup) != 0 || hangup.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);
  return signals;
}

// Blocked in every thread and waited for in one.
void block_signals() {
  const sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void watch_signals(service::Service& service) {
  std::thread([&service] {
    const sigset_t signals = stop_signals();
    for (int count = 1;; ++count) {
      int signal = 0;
      if (sigwait(&signals, &signal) != 0) return;
      service.stop_by_signal();
      if (count < 2) continue;
      std::this_thread::sleep_for(std::chrono::seconds(4));
      ::_exit(75);
    }
  }).detach();
}

// Of jobs sent over HTTP.
io::Roots roots_of(const Arguments& given, const service::RunFolder& folder) {
  const io::Path run_folder = io::absolute(folder.path());
  io::Roots roots{{given.data_roots.begin(), given.data_roots.end()},
                  {given.output_roots.begin(), given.output_roots.end()},
                  {run_folder}};
  if (roots.read.empty()) roots.read.push_back(io::working_folder());
  if (roots.write.empty()) roots.write.push_back(run_folder.parent_path());
  return roots;
}

api::ServerOptions server_options(const Arguments& given, const service::RunFolder& folder,
                                  const std::string& run_id, telemetry::Metrics& metrics) {
  api::ServerOptions options;
  options.metrics = &metrics;
  options.listen = given.listen;
  options.run_folder = folder.path();
  options.run_id = run_id;
  options.incarnation = folder.incarnation();
  options.version = version();
  options.allowed_hosts = given.allowed_hosts;
  const io::Roots roots = roots_of(given, folder);
  options.data_roots = roots.read;
  options.output_roots = roots.write;
  return options;
}

service::Outcome serve(MpiWorld& world, const Arguments& given, std::optional<jobs::JobSpec> job,
                       service::RunFolder& folder) {
  const RealClock clock;
  ledger::Ledger ledger({.folder = store::RunPaths{folder.path()}.ledger(),
                         .incarnation = folder.incarnation(),
                         .traces = checkpoints::traces_of_a_run(folder.path()),
                         .run_folder = folder.path()},
                        clock);
  const auto place = telemetry::metrics_place(given.metrics_listen, given.advertise, 0);
  telemetry::Metrics metrics(place.address, place.port, {}, store::read_metrics_token(given.metrics_token));
  metrics.set("trireme_build_info", 1, {{"version", version()}});
  service::ServiceOptions options;
  if (!job) {
    options.roots = roots_of(given, folder);
    if (const io::Path weights = jobs::weights_folder(); !weights.empty())
      options.roots->read.push_back(weights);
  }
  options.job = std::move(job);
  options.working_folder = io::working_folder().string();
  options.supervisor_pid = static_cast<int>(environment_number("TRIREME_SUPERVISOR_PID"));
  options.host = place.advertised;
  service::Service service(std::move(options), folder, ledger, world.mailbox(), metrics, clock);
  const api::Server server(service, server_options(given, folder, ledger.run_id(), metrics));
  log_info("coordinator", "incarnation " + std::to_string(folder.incarnation().value) + " of " +
                              ledger.run_id() + ", " + std::to_string(world.size() - 1) +
                              " workers, API at " + server.url());
  watch_signals(service);
  const service::Outcome outcome = service.run();
  if (!outcome.orderly) ::_exit(outcome.exit_code);
  return outcome;
}

void check_place(const MpiWorld& world) {
  if (world.rank() == 0 && world.size() >= 2) return;
  throw Error(
      ErrorKind::kUsage,
      world.rank() == 0 ? "there are no workers"
                        : "trireme-coordinator must be rank 0, it is rank " + std::to_string(world.rank()),
      "start `trireme launch -n W job.json`, or `mpirun -n 1 trireme-coordinator --job job.json : -n W "
      "trireme-worker`");
}

// Ranks wait for each other in MPI_Finalize: after a failure the process leaves by _exit instead.
[[noreturn]] void give_up(const std::optional<service::RunFolder>& folder, ErrorKind kind,
                          const std::string& why) {
  log_error("coordinator", why);
  tell_supervisor(folder, kind, why);
  ::_exit(exit_code(kind));
}

int run_program(const Arguments& given) {
  block_signals();
  const auto pulse = io::Pulse::of_rank("0", "joining");
  start_log("coordinator");
  if (const std::string logs = environment("TRIREME_LOG_DIR"); !logs.empty()) redirect_log_to_folder(logs, 0);
  std::optional<service::RunFolder> folder;
  service::Outcome outcome;
  try {
    std::optional<jobs::JobSpec> job;
    io::Path place = io::absolute(given.run_folder.empty() ? "runs/service" : given.run_folder);
    if (!given.job.empty()) job = read_job(given);
    if (job && given.run_folder.empty()) place = job->spec.output;
    folder.emplace(place, environment_number("TRIREME_INCARNATION"));
    arm_fault_points(0, folder->incarnation().value);
    refuse_lonely_start();
    MpiWorld world;
    if (pulse) pulse->phase("serving");
    check_place(world);
    outcome = serve(world, given, std::move(job), *folder);
    world.finalize();
  } catch (const Error& error) {
    give_up(folder, error.kind(), error.what());
  } catch (const std::exception& error) {
    give_up(folder, ErrorKind::kInternal, std::string("unexpected: ") + error.what());
  }
  return outcome.exit_code;
}

}  // namespace

int run(int argc, char** argv) {
  CLI::App program("trireme-coordinator: rank 0 of a Trireme run");
  Arguments given;
  describe_arguments(program, given);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : exit_code(ErrorKind::kUsage);
  }
  return run_program(given);
}

}  // namespace trireme::coordinator
