#include "coordinator/cli/doctor.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <thread>

#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/client/json_members.h"
#include "coordinator/cli/launch/mpirun.h"
#include "coordinator/cli/launch/process.h"
#include "jobs/protocol/version.h"
#include "jobs/store/published.h"

namespace trireme::coordinator::cli {
namespace {

using State = Check::State;
constexpr std::uint64_t kGibibyte = std::uint64_t{1} << 30;

Check check_build() {
  return {State::kGood, "trireme",
          version() + ", built with g++ " + __VERSION__ + ", nlohmann/json " +
              std::to_string(NLOHMANN_JSON_VERSION_MAJOR) + "." + std::to_string(NLOHMANN_JSON_VERSION_MINOR),
          ""};
}

Check check_mpi(const std::string& mpirun) {
  try {
    std::string note;
    const MpirunVersion version = check_mpirun(mpirun, note);
    return {note.empty() ? State::kGood : State::kNote, "mpirun", version.text, note};
  } catch (const Error& error) {
    return {State::kMissing, "mpirun", "not usable", error.what()};
  }
}

Check check_mpi_settings() {
  std::string settings = "launch passes --oversubscribe --bind-to none and short time-outs";
  std::string advice;
  if (::geteuid() == 0) {
    const bool allowed = std::getenv("OMPI_ALLOW_RUN_AS_ROOT") != nullptr;
    settings += allowed ? "; root is allowed" : "; root: launch sets OMPI_ALLOW_RUN_AS_ROOT itself";
    if (!allowed)
      advice = "for mpirun by hand as root: export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";
  }
  if (!without_srun().empty())
    advice += std::string(advice.empty() ? "" : "; ") + kWithoutSrun +
              " for mpirun by hand; launch sets both itself";
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::string(*entry).rfind("OMPI_MCA_", 0) == 0) settings += "; " + printable(*entry, 200);
  return {advice.empty() ? State::kGood : State::kNote, "MPI settings", settings, advice};
}

Check check_program(const std::string& name) {
  const std::string path = find_program(name);
  if (path.empty())
    return {State::kMissing, name, "not found",
            "./quickstart build makes it; keep it beside trireme or in $PATH"};
  return {State::kGood, name, path, ""};
}

// Versions of torch and the device are the worker's to tell.
Check check_torch() {
  const std::string worker = find_program("trireme-worker");
  if (worker.empty())
    return {State::kMissing, "torch and device", "unknown without trireme-worker", "./quickstart build"};
  const Captured answer = capture({worker, "tool", "device"}, std::chrono::seconds(60));
  std::string text = answer.output;
  std::replace(text.begin(), text.end(), '\n', ';');
  text.erase(text.find_last_not_of("; ") + 1);
  const bool lacks = text.find("a GPU needs:") != std::string::npos ||
                     text.find("(no nvcc") != std::string::npos ||
                     text.find("plug-in: none") != std::string::npos;
  if (answer.exit_code == 0)
    return {lacks ? State::kNote : State::kGood, "torch and device", printable(text, 1000),
            lacks ? "the GPU is not used, or not to the full: docs/gpu.md says what its machine needs" : ""};
  return {State::kMissing, "torch and device", printable(text, 1000),
          "the worker does not start: run docker/install_dependencies.sh, then ./quickstart build"};
}

Check check_sqlite() {
  const bool same = sqlite3_libversion_number() >= SQLITE_VERSION_NUMBER;
  return {same ? State::kGood : State::kNote, "SQLite",
          std::string("built with ") + SQLITE_VERSION + ", runs with " + sqlite3_libversion(),
          same ? "" : "the library is older than the headers: install libsqlite3-0 again"};
}

Check check_cores() {
  struct sysinfo info {};
  ::sysinfo(&info);
  const std::uint64_t bytes = std::uint64_t{info.totalram} * info.mem_unit;
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const bool enough = bytes >= 2 * kGibibyte;
  return {enough ? State::kGood : State::kNote, "machine",
          std::to_string(cores) + " cores, " + bytes_text(bytes) + " memory",
          enough ? "" : "less than 2 GiB: use small batches and one worker"};
}

Check check_disk(const io::Path& folder) {
  const std::uint64_t free = io::free_bytes(folder);
  const std::string found = bytes_text(free) + " free for " + folder.string();
  if (free < kGibibyte / 4)
    return {State::kMissing, "disk", found,
            "free some space, or choose another output with --set spec.output=…"};
  return {free < 5 * kGibibyte ? State::kNote : State::kGood, "disk", found,
          free < 5 * kGibibyte ? "checkpoints and features of larger jobs need more" : ""};
}

Check check_shared_memory() {
  if (!io::is_folder("/dev/shm"))
    return {State::kNote, "/dev/shm", "absent",
            "Open MPI falls back to slower transports; mount a tmpfs there"};
  const std::uint64_t free = io::free_bytes("/dev/shm");
  const bool enough = free >= kGibibyte / 16;
  return {enough ? State::kGood : State::kNote, "/dev/shm", bytes_text(free) + " free",
          enough ? "" : "containers: give it more, for example docker run --shm-size=1g"};
}

Check check_limits() {
  rlimit files{}, processes{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  ::getrlimit(RLIMIT_NPROC, &processes);
  const auto text = [](rlim_t value) {
    return value == RLIM_INFINITY ? std::string("unlimited") : std::to_string(value);
  };
  const bool enough = files.rlim_cur >= 256 && processes.rlim_cur >= 128;
  return {enough ? State::kGood : State::kMissing, "limits",
          "open files " + text(files.rlim_cur) + ", processes and threads " + text(processes.rlim_cur),
          enough ? "" : "raise them: ulimit -n 1024; ulimit -u 1024"};
}

Check check_weights() {
  const io::Path folder = jobs::weights_folder();
  const std::string advice =
      "docker/install_dependencies.sh fetches published weights; only jobs that name pretrained:… need them";
  if (!io::is_folder(folder))
    return {State::kNote, "weights", folder.empty() ? "no folder" : "no folder " + folder.string(), advice};
  std::vector<std::string> names;
  for (const auto& file : io::files_below(folder))
    names.push_back(file.lexically_relative(folder).string() + " (" + bytes_text(io::size_of(file)) + ")");
  std::string found = folder.string() + ":";
  for (const auto& name : names) found += " " + printable(name, 200);
  return {names.empty() ? State::kNote : State::kGood, "weights", found, names.empty() ? advice : ""};
}

Check check_prometheus() {
  const std::string path = find_program("prometheus");
  if (path.empty())
    return {State::kNote, "Prometheus", "not installed",
            "only for dashboards and their tests: apt-get install prometheus, or docker compose -f "
            "docker/compose.yml up"};
  const Captured answer = capture({path, "--version"});
  return {State::kGood, "Prometheus", printable(answer.output.substr(0, answer.output.find(" (")), 200), ""};
}

const char* name_of(State state) {
  return state == State::kGood ? "ok" : state == State::kNote ? "note" : "missing";
}

}  // namespace

std::vector<Check> run_checks(const DoctorOptions& options) {
  std::vector<Check> checks{check_build(),
                            check_mpi(options.mpirun),
                            check_mpi_settings(),
                            check_program("trireme-coordinator"),
                            check_program("trireme-worker"),
                            check_torch(),
                            check_sqlite(),
                            check_cores(),
                            check_disk(options.output),
                            check_shared_memory(),
                            check_limits(),
                            check_weights(),
                            check_prometheus()};
  for (const auto& answer : look_at_hosts(options.hosts, io::absolute(options.output))) {
    const bool good = answer.fault.empty();
    checks.push_back({!good                 ? State::kMissing
                      : answer.note.empty() ? State::kGood
                                            : State::kNote,
                      "host " + printable(answer.host.name, 100),
                      good ? std::to_string(answer.host.slots) + " workers, " +
                                 std::to_string(answer.report.cores) + " cores, " +
                                 std::to_string(answer.report.gpu_nodes.size()) + " GPUs, " +
                                 bytes_text(answer.report.temporary_free_bytes) + " free in " +
                                 printable(answer.report.temporary, 100)
                           : "cannot take part",
                      good ? answer.note : answer.fault});
  }
  return checks;
}

int print_checks(const std::vector<Check>& checks, bool json, std::ostream& out) {
  const bool able = std::none_of(checks.begin(), checks.end(),
                                 [](const Check& check) { return check.state == State::kMissing; });
  if (json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Check& check : checks)
      list.push_back({{"name", check.name},
                      {"state", name_of(check.state)},
                      {"found", check.found},
                      {"advice", check.advice}});
    out << nlohmann::ordered_json{{"able_to_run", able}, {"checks", list}}.dump(2) << "\n";
    return able ? 0 : 1;
  }
  for (const Check& check : checks) {
    std::string label = std::string(name_of(check.state));
    label.resize(8, ' ');
    std::string name = check.name;
    name.resize(std::max<std::size_t>(20, name.size()), ' ');
    out << label << name << " " << check.found << "\n";
    if (!check.advice.empty()) out << std::string(29, ' ') << "-> " << check.advice << "\n";
  }
  out << (able ? "\nAble to run.\n" : "\nNot able to run: see the lines marked 'missing'.\n");
  return able ? 0 : 1;
}

}  // namespace trireme::coordinator::cli
