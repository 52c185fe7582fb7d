#include "jobs/store/run_files.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "jobs/specification/job_spec.h"

namespace trireme::store {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

template <class Value>
Value member(const json& object, const char* key, Value otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  try {
    return found->get<Value>();
  } catch (const json::exception&) {
    return otherwise;
  }
}

std::optional<json> object_of(const io::Path& file) {
  try {
    json parsed = json::parse(io::read_file(file, 64U << 20), nullptr, false);
    if (parsed.is_object()) return parsed;
  } catch (const Error&) {  // missing: no news
  }
  return std::nullopt;
}

template <class Json>
std::string line_of(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string store_of(const jobs::PipelineSpec& spec) {
  return spec.store.empty() ? spec.output + "/store" : spec.store;
}

std::uint64_t raise_incarnation(const RunPaths& run, const io::FileSystem& files) {
  const io::Path file = run.incarnation();
  std::uint64_t value = 0;
  if (io::exists(file, files)) {
    std::string text = io::read_file(file, 64, files);
    text.erase(text.find_last_not_of(" \r\n") + 1);
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || code != std::errc() || end != text.data() + text.size())
      throw Error(
          ErrorKind::kDamaged, file.string() + " does not hold a number",
          "write a number above every incarnation that the ledger has seen, or choose another output");
  }
  // A lost file: what the last ones have left says how far it was.
  if (const auto told = read_progress(run)) value = std::max(value, told->incarnation);
  if (const auto told = read_terminal(run)) value = std::max(value, told->incarnation);
  io::write_file_atomic(file, std::to_string(++value) + "\n", true, 0644, files);
  return value;
}

void write_terminal(const RunPaths& run, const Terminal& terminal, const io::FileSystem& files) {
  const json document{{"format", "trireme-terminal"},        {"version", 1},
                      {"incarnation", terminal.incarnation}, {"state", name_of(terminal.state)},
                      {"reason", terminal.reason},           {"retryable", terminal.retryable},
                      {"exit_code", terminal.exit_code},     {"step", terminal.step},
                      {"progress", terminal.progress}};
  io::write_file_atomic(run.terminal(), line_of(document), true, 0644, files);
}

std::optional<Terminal> read_terminal(const RunPaths& run) {
  const auto document = object_of(run.terminal());
  if (!document) return std::nullopt;
  const auto state = from_name<EndState>(member(*document, "state", std::string()));
  if (!state) return std::nullopt;
  return Terminal{*state,
                  member(*document, "reason", std::string()),
                  member(*document, "retryable", false),
                  member(*document, "exit_code", 1),
                  member(*document, "progress", std::int64_t{-1}),
                  member(*document, "step", std::int64_t{0}),
                  member(*document, "incarnation", std::uint64_t{0})};
}

void write_progress(const RunPaths& run, const Progress& progress, const std::string& time,
                    const io::FileSystem& files) {
  ordered_json document{{"format", "trireme-progress"},
                        {"version", 1},
                        {"incarnation", progress.incarnation},
                        {"pid", progress.pid},
                        {"sequence", progress.sequence},
                        {"progress", progress.progress.value_or(0)},
                        {"time", time}};
  ordered_json job = ordered_json::parse(progress.job, nullptr, false);
  document["job"] = job.is_discarded() ? ordered_json() : std::move(job);
  io::write_file_atomic(run.progress(), line_of(document), false, 0644, files);
}

std::optional<Progress> read_progress(const RunPaths& run) {
  const auto document = object_of(run.progress());
  if (!document) return std::nullopt;
  Progress progress;
  progress.incarnation = member(*document, "incarnation", std::uint64_t{0});
  progress.sequence = member(*document, "sequence", std::uint64_t{0});
  progress.pid = member(*document, "pid", std::int64_t{0});
  if (const auto told = document->find("progress"); told != document->end() && told->is_number())
    progress.progress = told->get<std::int64_t>();
  if (const auto job = document->find("job"); job != document->end() && job->is_object())
    progress.job = job->dump();
  return progress;
}

void write_endpoint(const RunPaths& run, const Endpoint& endpoint) {
  io::write_file_atomic(run.endpoint(), line_of(json{{"url", endpoint.url},
                                                     {"pid", endpoint.pid},
                                                     {"run_id", endpoint.run_id},
                                                     {"incarnation", endpoint.incarnation}}));
}

Endpoint read_endpoint(const RunPaths& run) {
  if (!io::exists(run.endpoint()))
    throw Error(ErrorKind::kUnavailable, "no coordinator is running in " + run.path.string(),
                "start one with 'trireme launch', or name its run folder with --run");
  const auto document = object_of(run.endpoint());
  if (!document) throw Error(ErrorKind::kDamaged, run.endpoint().string() + " is no JSON object");
  return {member(*document, "url", std::string()), member(*document, "run_id", std::string()),
          member(*document, "pid", std::int64_t{0}), member(*document, "incarnation", std::uint64_t{0})};
}

}  // namespace trireme::store
