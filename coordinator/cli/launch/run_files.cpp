#include "coordinator/cli/launch/run_files.h"

#include <algorithm>
#include <charconv>

#include "coordinator/cli/client/json_members.h"

namespace trireme::coordinator::cli {
namespace {
using nlohmann::json;

// Missing or odd files are no news, not errors: the caller looks again soon.
std::optional<json> object_of(const io::Path& file) {
  try {
    json parsed = json::parse(io::read_file(file, 64U << 20), nullptr, false);
    if (parsed.is_object()) return parsed;
  } catch (const Error&) {
  }
  return std::nullopt;
}

// Without a `progress` member: finished tasks and training steps.
std::int64_t committed_in(const json& document, const std::optional<JobView>& job) {
  if (const auto told = document.find("progress"); told != document.end() && told->is_number())
    return told->get<std::int64_t>();
  if (!job) return 0;
  std::int64_t sum = job->training ? job->training->step : 0;
  for (const auto& stage : job->stages) sum += stage.tasks_done;
  return sum;
}

}  // namespace

std::uint64_t raise_incarnation(const io::Path& run_folder) {
  const io::Path file = run_folder / "incarnation";
  std::uint64_t value = 0;
  if (std::filesystem::exists(file)) {
    std::string text = io::read_file(file, 64);
    text.erase(text.find_last_not_of(" \r\n") + 1);
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || code != std::errc() || end != text.data() + text.size())
      throw Error(
          ErrorKind::kDamaged, file.string() + " does not hold a number",
          "write a number above every incarnation that the ledger has seen, or choose another output");
  }
  io::write_file_atomic(file, std::to_string(++value) + "\n");
  return value;
}

std::optional<RunProgress> read_progress(const io::Path& run_folder) {
  const auto document = object_of(run_folder / "progress.json");
  if (!document) return std::nullopt;
  RunProgress progress;
  progress.incarnation = number_of<std::uint64_t>(*document, "incarnation");
  progress.pid = number_of<std::int64_t>(*document, "pid");
  if (const auto job = document->find("job"); job != document->end() && job->is_object())
    progress.job = job_view_from_json(job->dump());
  progress.committed = committed_in(*document, progress.job);
  return progress;
}

std::optional<Terminal> read_terminal(const io::Path& run_folder) {
  const auto document = object_of(run_folder / "terminal.json");
  if (!document) return std::nullopt;
  Terminal terminal;
  terminal.incarnation = number_of<std::uint64_t>(*document, "incarnation");
  terminal.state = text_of(*document, "state");
  terminal.reason = text_of(*document, "reason");
  terminal.retryable = flag_of(*document, "retryable");
  terminal.exit_code = number_of<int>(*document, "exit_code", 1);
  terminal.committed = number_of<std::int64_t>(*document, "progress", -1);
  terminal.step = number_of<std::int64_t>(*document, "step");
  return terminal;
}

void write_terminal(const io::Path& run_folder, const Terminal& terminal) {
  const json document{
      {"format", "trireme-terminal"},        {"version", 1},
      {"incarnation", terminal.incarnation}, {"state", terminal.state},
      {"reason", terminal.reason},           {"retryable", terminal.retryable},
      {"exit_code", terminal.exit_code},     {"progress", std::max<std::int64_t>(0, terminal.committed)}};
  io::write_file_atomic(run_folder / "terminal.json",
                        document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

EndpointFile read_endpoint(const io::Path& run_folder) {
  const io::Path file = run_folder / "endpoint.json";
  if (!std::filesystem::exists(file))
    throw Error(ErrorKind::kUnavailable, "no coordinator is running in " + run_folder.string(),
                "start one with 'trireme launch', or name its run folder with --run");
  const json document = object_from(io::read_file(file, 65536), file.string());
  EndpointFile endpoint;
  endpoint.url = text_of(document, "url");
  endpoint.pid = number_of<std::int64_t>(document, "pid");
  endpoint.incarnation = number_of<std::uint64_t>(document, "incarnation");
  const std::size_t colon = endpoint.url.rfind(':');
  if (endpoint.url.rfind("http://", 0) != 0 || colon < 8)
    throw Error(ErrorKind::kDamaged, file.string() + " names no http:// address");
  endpoint.host = endpoint.url.substr(7, colon - 7);
  const char* digits = endpoint.url.c_str() + colon + 1;
  std::from_chars(digits, endpoint.url.c_str() + endpoint.url.size(), endpoint.port);
  if (endpoint.port <= 0 || endpoint.port > 65535)
    throw Error(ErrorKind::kDamaged, file.string() + " names no port");
  return endpoint;
}

}  // namespace trireme::coordinator::cli
