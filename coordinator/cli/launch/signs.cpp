#include "coordinator/cli/launch/signs.h"

#include <csignal>
#include <cstdlib>
#include <regex>

#include "common/base/error.h"
#include "common/io/file.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {

namespace {

// "2026-11-29T19:28:29.539Z ERROR worker/1 worker: cannot listen on …" -> "worker 1: cannot listen on …"; ""
// of other lines.
std::string fault_in(const std::string& line) {
  static const std::regex kFault(R"(^\S+Z ERROR (coordinator|worker/(\d+)) \S+: (.*)$)");
  std::smatch found;
  if (!std::regex_search(line, found, kFault)) return "";
  return (found[2].matched ? "worker " + found[2].str() : std::string("the coordinator")) + ": " +
         found[3].str();
}

}  // namespace

bool hopeless(int code) {
  return code == exit_code(ErrorKind::kUsage) || code == exit_code(ErrorKind::kConflict);
}

// "… process rank 2 with PID 0 on node n exited on signal 9 (Killed)."
CauseOfEnd cause_of_end(const io::Path& log, std::uint64_t begin, const Ended& end,
                        std::uint64_t kills_for_memory) {
  io::LineReader file(log, begin);
  static const std::regex kSignal(R"(process rank (\d+) .*exited on signal (\d+))");
  std::string fault;
  for (std::string line; file.next(line);) {
    if (std::string one = fault_in(line); !one.empty()) fault = std::move(one);
    std::smatch found;
    if (!std::regex_search(line, found, kSignal)) continue;
    const std::string who = found[1] == "0" ? "the coordinator" : "worker " + found[1].str();
    const bool memory = kills_for_memory > 0 && std::atoi(found[2].str().c_str()) == SIGKILL;
    return {who + " was killed by signal " + found[2].str() + (memory ? " (out of memory)" : ""),
            std::atoi(found[1].str().c_str()), memory};
  }
  if (end.signal != 0) return {"mpirun was killed by signal " + std::to_string(end.signal)};
  if (hopeless(end.code) && !fault.empty()) return {fault};
  return {"mpirun ended with code " + std::to_string(end.code)};
}

std::uint64_t kills_for_memory() {
  io::LineReader file("/proc/vmstat");
  for (std::string line; file.next(line);)
    if (line.starts_with("oom_kill ")) return std::strtoull(line.c_str() + 9, nullptr, 10);
  return 0;
}

bool is_stopped(pid_t process) {
  try {
    const std::string stat = io::read_file("/proc/" + std::to_string(process) + "/stat", 65536);
    const std::size_t end = stat.rfind(')');
    return end != std::string::npos && end + 2 < stat.size() && stat[end + 2] == 'T';
  } catch (const Error&) {  // gone
    return false;
  }
}

std::optional<io::FileStatus> progress_stamp(const io::Path& run_folder) {
  const io::Path file = store::RunPaths{run_folder}.progress();
  return io::exists(file) ? std::optional(io::status_of(file)) : std::nullopt;
}

}  // namespace trireme::coordinator::cli
