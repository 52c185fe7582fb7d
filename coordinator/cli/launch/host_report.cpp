#include "coordinator/cli/launch/host_report.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <future>
#include <thread>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/host_name.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/machine/numa.h"
#include "coordinator/cli/build_info.h"
#include "coordinator/cli/launch/mpi_leftovers.h"
#include "coordinator/cli/launch/process.h"
#include "jobs/protocol/version.h"

namespace trireme::coordinator::cli {
namespace {

using nlohmann::json;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string write_fault(const io::Path& folder) {
  const io::Path probe = folder / (".trireme-probe-" + host_name() + "-" + std::to_string(::getpid()));
  try {
    io::write_file_atomic(probe, std::string(65536, 'x'));
    io::remove_file(probe);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::vector<std::string> remote_command(const std::string& host, const RemoteShell& shell,
                                        const std::vector<std::string>& words) {
  std::vector<std::string> command;
  if (is_local(host)) return words;
  if (shell.slurm) {
    command = {"srun", "--overlap", "--nodes=1", "--ntasks=1", "--nodelist=" + host};
    command.insert(command.end(), words.begin(), words.end());
    return command;
  }
  if (shell.agent.empty())
    command = {"ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host};
  else
    command = {shell.agent, host};
  std::string line;
  for (const auto& word : words) line += (line.empty() ? "" : " ") + quoted_for_shell(word);
  command.push_back(line);
  return command;
}

// The line that begins with a brace; login shells like to greet.
std::string answer_line(const std::string& output) {
  const std::size_t at = output.rfind("\n{");
  if (at != std::string::npos) return output.substr(at + 1, output.find('\n', at + 1) - at - 1);
  return output.rfind('{', 0) == 0 ? output.substr(0, output.find('\n')) : "";
}

std::string last_line(std::string text) {
  text.erase(text.find_last_not_of("\n ") + 1);
  return printable(text.substr(text.rfind('\n') + 1), 300);
}

void judge(HostAnswer& answer, const HostReport& here, const io::Path& run_folder, bool share_gpus) {
  const HostReport& there = answer.report;
  const auto gpus = static_cast<int>(there.gpu_nodes.size());
  if (answer.host.slots == 0)
    answer.host.slots = std::max(1, gpus > 0 ? gpus : static_cast<int>(there.numa_nodes));
  if (there.version != here.version || there.commit != here.commit)
    answer.fault = "has trireme " + there.version + " (" + there.commit + "), this host " + here.version +
                   " (" + here.commit + "): install one version everywhere";
  else if (!there.temporary_fault.empty())
    answer.fault = "cannot write to " + there.temporary + " (" + there.temporary_fault +
                   "), where MPI keeps its session: free it, or set TMPDIR";
  else if (!there.sees_folder)
    answer.fault = "does not see the run folder " + run_folder.string() +
                   ": output, store and data must lie on storage that all hosts share under one path";
  else if (!there.folder_fault.empty())
    answer.fault = "cannot write to the run folder " + run_folder.string() + " (" + there.folder_fault +
                   "): mount it there with the rights that it has here";
  else if (!there.missing.empty())
    answer.fault =
        "does not have " + there.missing.front() +
        (there.missing.size() == 1 ? std::string()
                                   : " and " + std::to_string(there.missing.size() - 1) + " more") +
        ", which this host has: programs, data and weights must lie under one path on all hosts";
  else if (gpus > 0 && answer.host.slots > gpus && !share_gpus)
    answer.fault = "is to take " + std::to_string(answer.host.slots) + " workers but has " +
                   std::to_string(gpus) + (gpus == 1 ? " GPU" : " GPUs") +
                   ": give it fewer slots, or pass --share-gpus";
  const std::int64_t ahead = there.wall_seconds - here.wall_seconds;
  if (std::llabs(ahead) > 30)
    answer.note = "its clock is " + std::to_string(std::llabs(ahead)) + " s " +
                  (ahead > 0 ? "ahead" : "behind") +
                  ": logs and graphs will not line up (no decision is made by it)";
}

HostAnswer ask(const Host& host, const std::vector<std::string>& words, const RemoteShell& shell) {
  HostAnswer answer{host, {}, "", ""};
  const Captured captured = capture(remote_command(host.name, shell, words));
  const std::string line = answer_line(captured.output);
  if (!line.empty()) {
    try {
      answer.report = host_report_from_json(line);
      return answer;
    } catch (const Error& error) {
      answer.fault = std::string("gave an answer that is no report: ") + error.what();
      return answer;
    }
  }
  if (captured.exit_code == 127 || captured.exit_code == 126 || captured.exit_code == 2)
    answer.fault = "has no " + words.front() + " (" + last_line(captured.output) +
                   "): install Trireme there under the same path";
  else
    answer.fault = "cannot be reached (" + last_line(captured.output) +
                   "): its name, its network and a login without a password are needed";
  return answer;
}

}  // namespace

std::string quoted_for_shell(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

HostReport host_report(const io::Path& run_folder, const std::string& token,
                       const std::vector<std::string>& paths) {
  HostReport report;
  report.host = host_name();
  report.version = version();
  report.commit = build_commit();
  report.wall_seconds = ::time(nullptr);
  report.cores = std::max(1U, std::thread::hardware_concurrency());
  report.numa_nodes = std::max<std::int64_t>(1, static_cast<std::int64_t>(io::numa_nodes().size()));
  report.gpu_nodes = io::gpu_numa_nodes(std::getenv("CUDA_VISIBLE_DEVICES"));
  report.temporary = variable("TMPDIR").empty() ? "/tmp" : variable("TMPDIR");
  sweep_mpi_leftovers(report.temporary);
  report.temporary_fault = write_fault(report.temporary);
  if (report.temporary_fault.empty()) report.temporary_free_bytes = io::free_bytes(report.temporary);
  report.sees_folder = io::appears(run_folder / token, io::disk(), std::chrono::seconds(2));
  if (report.sees_folder) report.folder_fault = write_fault(run_folder);
  for (const auto& path : paths)
    if (!io::exists(path)) report.missing.push_back(path);
  return report;
}

std::string to_json(const HostReport& report) {
  return json{{"host", report.host},
              {"version", report.version},
              {"commit", report.commit},
              {"wall_seconds", report.wall_seconds},
              {"cores", report.cores},
              {"numa_nodes", report.numa_nodes},
              {"gpu_nodes", report.gpu_nodes},
              {"temporary", report.temporary},
              {"temporary_fault", report.temporary_fault},
              {"temporary_free_bytes", report.temporary_free_bytes},
              {"sees_folder", report.sees_folder},
              {"folder_fault", report.folder_fault},
              {"missing", report.missing}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

HostReport host_report_from_json(const std::string& text) {
  try {
    const json document = json::parse(text);
    HostReport report;
    document.at("host").get_to(report.host);
    document.at("version").get_to(report.version);
    document.at("commit").get_to(report.commit);
    document.at("wall_seconds").get_to(report.wall_seconds);
    document.at("cores").get_to(report.cores);
    document.at("numa_nodes").get_to(report.numa_nodes);
    document.at("gpu_nodes").get_to(report.gpu_nodes);
    document.at("temporary").get_to(report.temporary);
    document.at("temporary_fault").get_to(report.temporary_fault);
    document.at("temporary_free_bytes").get_to(report.temporary_free_bytes);
    document.at("sees_folder").get_to(report.sees_folder);
    document.at("folder_fault").get_to(report.folder_fault);
    report.missing = document.value("missing", report.missing);
    return report;
  } catch (const json::exception& failure) {
    throw Error(ErrorKind::kInvalid, printable(failure.what(), 200));
  }
}

bool is_local(const std::string& host) {
  const std::string own = host_name();
  if (host == own || host == own.substr(0, own.find('.')) || host == "localhost") return true;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return false;
  bool found = false;
  for (const ifaddrs* entry = list; entry != nullptr && !found; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text, sizeof text);
    found = host == text;
  }
  ::freeifaddrs(list);
  return found;
}

std::vector<HostAnswer> ask_hosts(const std::vector<Host>& hosts, const io::Path& run_folder,
                                  const std::vector<std::string>& paths, const RemoteShell& shell,
                                  bool share_gpus) {
  const std::string token = ".hosts-" + std::to_string(::getpid());
  io::make_folders(run_folder);
  io::write_file_atomic(run_folder / token, host_name() + "\n");
  std::vector<std::string> words{find_program("trireme"), "host-report", run_folder.string(), token};
  words.insert(words.end(), paths.begin(), paths.end());
  if (const std::string worker = find_program("trireme-worker"); !worker.empty()) words.push_back(worker);
  const HostReport here = host_report(run_folder, token);
  std::vector<std::future<HostAnswer>> asked;
  for (const Host& host : hosts)
    asked.push_back(std::async(std::launch::async, [&, host] { return ask(host, words, shell); }));
  std::vector<HostAnswer> answers;
  for (auto& answer : asked) {
    answers.push_back(answer.get());
    if (answers.back().fault.empty()) judge(answers.back(), here, run_folder, share_gpus);
  }
  io::remove_file(run_folder / token);
  return answers;
}

std::vector<std::string> placement_lines(const std::vector<HostAnswer>& answers) {
  std::vector<std::string> lines;
  int rank = 0;
  for (const auto& answer : answers)
    for (int slot = 0; slot < answer.host.slots; ++slot) {
      std::string line = "rank " + std::to_string(++rank) + " on " + answer.host.name;
      const auto& gpus = answer.report.gpu_nodes;
      if (!gpus.empty()) {
        const auto gpu = static_cast<std::size_t>(slot) % gpus.size();
        line += ", GPU " + std::to_string(gpu) +
                (gpus[gpu] >= 0 ? ", NUMA node " + std::to_string(gpus[gpu]) : std::string());
      } else {
        line += ", " + std::to_string(slot + 1) + " of " + std::to_string(answer.host.slots) + " shares of " +
                std::to_string(answer.report.cores) + " cores";
        // The shares go node by node; a worker that has parts of two is told by its log alone.
        if (answer.host.slots % answer.report.numa_nodes == 0)
          line += ", NUMA node " + std::to_string(slot * answer.report.numa_nodes / answer.host.slots);
      }
      lines.push_back(line);
    }
  return lines;
}

}  // namespace trireme::coordinator::cli
