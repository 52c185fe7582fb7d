#include "worker/stages/train/state/result_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "common/io/machine/aside.h"
#include "worker/runtime/stage.h"
#include "worker/stages/train/state/step_log.h"

namespace trireme::worker::stages::train {
namespace {

// The log without what differs between two equal runs, so that equal addresses mean equal bytes.
std::string timeless(const std::string& log) {
  std::string rows;
  for (std::size_t at = 0; at < log.size();) {
    const auto end = std::min(log.find('\n', at), log.size());
    auto row = nlohmann::ordered_json::parse(log.substr(at, end - at));
    row.erase("seconds");
    row.erase("data_wait_seconds");
    rows += row.dump() + "\n";
    at = end + 1;
  }
  return rows;
}

std::string manifest_of(const io::Path& folder) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const auto& file : io::list_folder(folder))
    files.push_back({{"name", file.filename().string()},
                     {"bytes", io::size_of(file)},
                     {"xxh3", io::hex(io::xxh3_of_file(file))}});
  return nlohmann::ordered_json{{"format", "trireme-model-folder"}, {"version", 1}, {"files", files}}.dump(
             2) +
         "\n";
}

}  // namespace

jobs::OutputFile write_result(const jobs::Task& task, const models::DualEncoder& encoder,
                              const std::string& signals_json,
                              const std::function<void(const io::Path& folder)>& add) {
  const io::Path place = task.output;
  const io::Aside mine(place);
  const io::Path& aside = mine.path();
  io::make_folders(aside);
  encoder.save(aside.string(), nlohmann::json{{"address", task.address}}.dump());
  add(aside);
  io::write_file_atomic(aside / "log.jsonl", timeless(io::read_file(StepLog::of(task.stage_folder))));
  io::write_file_atomic(aside / "signals.json", signals_json);
  io::write_file_atomic(aside / "manifest.json", manifest_of(aside));
  io::sync_folder(aside);
  // Left by a run whose result was not committed, or damaged: this one has its address, so nobody wants that
  // one.
  io::replace_folder(aside, place);
  return runtime::describe_output("", task.output);
}

}  // namespace trireme::worker::stages::train
