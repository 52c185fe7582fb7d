#include "coordinator/cli/sweep_command.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <thread>

#include <sys/sysinfo.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/host_name.h"
#include "common/base/log.h"
#include "coordinator/cli/build_info.h"
#include "coordinator/cli/client/display.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/plan/spec_file.h"
#include "coordinator/cli/sweep_runs.h"
#include "coordinator/sweep/sweep_spec.h"
#include "jobs/protocol/version.h"
#include "jobs/specification/spec_paths.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

constexpr auto kLook = std::chrono::milliseconds(300);

std::string cpu_model() {
  try {
    const std::string text = io::read_file("/proc/cpuinfo", 1U << 20);
    const std::size_t at = text.find("model name"), colon = text.find(": ", at), end = text.find('\n', at);
    if (at != std::string::npos && colon < end) return text.substr(colon + 2, end - colon - 2);
  } catch (const Error&) {
  }
  return "unknown processor";
}

sweep::Provenance provenance_of(const SweepOptions& options) {
  sweep::Provenance made;
  made.version = version();
  made.commit = build_commit();
  made.host = host_name();
  made.cpu = cpu_model();
  made.cores = std::max(1U, std::thread::hardware_concurrency());
  struct sysinfo info {};
  ::sysinfo(&info);
  made.memory_bytes = std::uint64_t{info.totalram} * info.mem_unit;
  made.workers = options.fleet.workers;
  made.started = utc_now();
  return made;
}

sweep::Sweep read_sweep(const SweepOptions& options) {
  auto read = sweep::read_sweep(io::read_file(options.file, 1U << 20), io::Path(options.file).parent_path(),
                                options.fleet.overrides, options.fleet.run_folder);
  if (!read.faults.empty())
    throw Error(ErrorKind::kInvalid, options.file + " has " + std::to_string(read.faults.size()) +
                                         (read.faults.size() == 1 ? " fault:" : " faults:") +
                                         faults_text(read.faults));
  return std::move(read.sweep);
}

// The runs are the user's own, so they read what they like (lists name pictures that lie elsewhere), and
// write below the sweep's folder and their store.
void allow_paths(const sweep::Sweep& sweep, LaunchOptions& fleet) {
  std::set<std::string> written{sweep.output.string()};
  for (const auto& run : sweep.jobs) {
    jobs::JobSpec job = run.job;
    for (const auto& path : jobs::spec_paths(job)) {
      if (path.written && path.value->rfind(sweep.output.string() + "/", 0) != 0) written.insert(*path.value);
    }
  }
  fleet.data_roots.push_back("/");
  fleet.output_roots.insert(fleet.output_roots.end(), written.begin(), written.end());
}

int print_runs(const sweep::Sweep& sweep, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{{"run", "row", "seed", "output"}};
  for (const auto& job : sweep.jobs)
    rows.push_back({job.name, printable(sweep.rows[job.row].label(), 80), std::to_string(job.seed),
                    job.job.spec.output});
  out << table_text(rows) << sweep.jobs.size() << (sweep.jobs.size() == 1 ? " run" : " runs") << ", "
      << sweep.rows.size() << (sweep.rows.size() == 1 ? " row" : " rows") << "\n";
  return 0;
}

void print_end(const SweepOptions& options, const sweep::Sweep& sweep, const SweepRuns& runs) {
  std::ostream& out = *options.fleet.out;
  if (options.json) {
    out << io::read_file(sweep.output / "sweep.json");
    return;
  }
  out << "\n" << runs.table_text();
  if (runs.tasks_reused() > 0)
    out << count_text(runs.tasks_reused()) << (runs.tasks_reused() == 1 ? " task was" : " tasks were")
        << " not run again: an earlier run of the sweep had the result\n";
  out << "table   " << (sweep.output / "sweep.csv").string() << "\nreport  "
      << store::RunPaths{sweep.output}.report().string() << "\n";
}

SupervisorResult run_fleet(const SweepOptions& options, const sweep::Sweep& sweep, SweepRuns& runs,
                           Display& display, const Clock& clock) {
  LaunchOptions fleet = options.fleet;
  allow_paths(sweep, fleet);
  const io::Path folder = sweep.output / "fleet";
  io::make_folders(folder);
  fleet.run_folder = folder;
  SupervisorOptions supervisor = fleet_options(fleet, sweep.jobs.front().job, folder,
                                               [&](const std::string& line) { display.say(line); });
  // Of the whole sweep, not of one job: each has as many starts as its own specification allows.
  supervisor.retry.max_attempts *= static_cast<std::int64_t>(sweep.jobs.size());
  const ApiClient client(folder, std::chrono::milliseconds(0));
  auto next = clock.now();
  supervisor.on_poll = [&] {
    if (clock.now() < next || stop_signals() > 0 || runs.all_over()) return;
    runs.poll(client);
    next = clock.now() + kLook;
    display.preface(runs.headline());
    if (runs.running()) display.update(*runs.running());
  };
  supervisor.finished = [&] { return runs.all_over() && runs.reports_written(); };
  catch_stop_signals();
  return supervise(supervisor);
}

}  // namespace

int sweep_jobs(const SweepOptions& options) {
  const sweep::Sweep sweep = read_sweep(options);
  std::ostream& out = *options.fleet.out;
  if (options.dry_run) return print_runs(sweep, out);
  io::make_folders(sweep.output);
  const io::FileLock lock(store::RunPaths{sweep.output}.lock());
  const RealClock clock;
  std::ostream nowhere(nullptr);
  Display display(options.json ? nowhere : out, options.fleet.is_terminal && !options.json, clock);
  SweepRuns runs(sweep, provenance_of(options), options.retry_failed, clock,
                 [&](const std::string& line) { display.say(line); });
  SupervisorResult result;
  result.exit_code = 0;
  if (!runs.all_over()) result = run_fleet(options, sweep, runs, display, clock);
  if (!runs.all_over()) display.finish();
  runs.write();
  print_end(options, sweep, runs);
  if (runs.all_over()) return runs.failed() > 0 ? 1 : 0;
  if (options.json) return result.exit_code;
  out << "\n" << name_of(result.state) << ": " << printable_lines(result.reason) << "\n";
  if (result.exit_code == 75)
    out << "Start the same command again to go on.\n";
  else
    out << "Last lines of " << (sweep.output / "fleet/logs/mpirun.log").string() << ":\n"
        << last_complaints(sweep.output / "fleet");
  return result.exit_code;
}

}  // namespace trireme::coordinator::cli
