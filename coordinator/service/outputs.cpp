#include "coordinator/service/outputs.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "coordinator/ledger/result_json.h"

namespace trireme::coordinator::service {

using nlohmann::json;

void write_stage_outputs(const io::Path& output, const std::string& stage,
                         const std::vector<CommittedTask>& tasks) {
  std::string text;
  for (const auto& task : tasks) {
    json line = json::parse(ledger::result_json(task.done));
    line["task"] = task.key;
    json summary = json::parse(task.done.summary, nullptr, false);
    if (!summary.is_discarded()) line["summary"] = std::move(summary);
    text += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  io::write_file_atomic(output / "stages" / stage / "outputs.jsonl", text);
}

void publish_file(const io::Path& from, const io::Path& to) {
  io::write_file_atomic(to, io::read_file(from));
}

void publish_folder(const io::Path& from, const io::Path& to) {
  const io::Path aside = to.string() + ".tmp-" + std::to_string(::getpid());
  std::error_code code;
  std::filesystem::remove_all(aside, code);
  io::make_folders(aside);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(from)) {
    const io::Path target = aside / std::filesystem::relative(entry.path(), from);
    if (entry.is_directory()) {
      io::make_folders(target);
      continue;
    }
    std::filesystem::create_hard_link(entry.path(), target, code);
    if (!code) continue;
    std::filesystem::copy_file(entry.path(), target, code);
    if (code)
      throw system_error("cannot copy " + entry.path().string() + " to " + target.string(), code.value());
    io::sync_file(target);
  }
  io::sync_folder(aside);
  const io::Path old = to.string() + ".old";
  std::filesystem::remove_all(old, code);
  if (std::filesystem::exists(to)) io::rename_durably(to, old);
  io::rename_durably(aside, to);
  std::filesystem::remove_all(old, code);
}

namespace {

void link_or_copy(const io::Path& from, const io::Path& to) {
  std::error_code code;
  std::filesystem::create_hard_link(from, to, code);
  if (!code) return;
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, code);
  if (code) throw system_error("cannot copy " + from.string() + " to " + to.string(), code.value());
  io::sync_file(to);
}

// numpy 1.0 of dtype u8,u8 (FORMATS 3): upper and lower half of each uid, sorted. `uids`: 16 bytes each.
std::string subset_npy(std::vector<std::string> uids) {
  std::sort(uids.begin(), uids.end());
  std::string head = "{'descr': [('f0', '<u8'), ('f1', '<u8')], 'fortran_order': False, 'shape': (" +
                     std::to_string(uids.size()) + ",), }";
  head.resize((head.size() + 10 + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  head += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(head.size() & 255U);
  out += static_cast<char>(head.size() >> 8U);
  out += head;
  for (const auto& uid : uids)
    for (const std::size_t half : {std::size_t{0}, std::size_t{8}})
      for (std::size_t i = 8; i-- > 0;) out += uid[half + i];  // big-endian digits, little-endian numbers
  return out;
}

// Shards without a kept sample make no file, so that readers never meet an empty tar; numbers have no gaps.
void publish_export(const io::Path& to, const std::vector<CommittedTask>& tasks) {
  const io::Path aside = to.string() + ".tmp-" + std::to_string(::getpid());
  std::error_code code;
  std::filesystem::remove_all(aside, code);
  io::make_folders(aside);
  json sizes = json::object();
  std::vector<std::string> uids;
  for (const auto& task : tasks) {
    const auto exported = task.done.counts.find("exported");
    if (exported == task.done.counts.end() || exported->second == 0) continue;
    char name[16];
    std::snprintf(name, sizeof name, "%05zu", sizes.size());
    for (const auto& file : task.done.outputs) {
      if (file.name.empty()) link_or_copy(file.path, aside / (std::string(name) + ".tar"));
      if (file.name != "uids") continue;
      const std::string bytes = io::read_file(file.path);
      for (std::size_t at = 0; at + 16 <= bytes.size(); at += 16) uids.push_back(bytes.substr(at, 16));
    }
    sizes[std::string(name) + ".tar"] = exported->second;
    io::write_file_atomic(aside / (std::string(name) + "_stats.json"),
                          json{{"count", exported->second}, {"successes", exported->second}}.dump() + "\n",
                          false);
  }
  io::write_file_atomic(aside / "sizes.json", sizes.dump(1) + "\n", false);
  if (!uids.empty()) io::write_file_atomic(aside / "subset.npy", subset_npy(std::move(uids)), false);
  io::sync_folder(aside);
  std::filesystem::remove_all(to, code);
  io::rename_durably(aside, to);
}

// What reports read. A stage whose result the store had has no log of its own; one that ran keeps its log
// with times.
void publish_curves(const io::Path& result, const io::Path& to) {
  if (std::filesystem::exists(result / "signals.json"))
    publish_file(result / "signals.json", to / "signals.json");
  if (std::filesystem::exists(result / "log.jsonl") && !std::filesystem::exists(to / "log.jsonl"))
    publish_file(result / "log.jsonl", to / "log.jsonl");
}

}  // namespace

void publish_stage(const io::Path& output, const std::string& stage, const std::string& kind,
                   bool last_of_kind, const std::vector<CommittedTask>& tasks) {
  if (kind == "export") publish_export(output / "export" / stage, tasks);
  for (const auto& task : tasks)
    for (const auto& file : task.done.outputs) {
      if (!file.name.empty()) continue;
      if (kind == "evaluate" && file.path.ends_with(".evaluation.json"))
        publish_file(file.path, output / "stages" / stage / "evaluation.json");
      if (kind == "vocabulary" && file.path.ends_with(".vocab.txt"))
        publish_file(file.path, output / "stages" / stage / "vocab.txt");
      if ((kind == "concept_vocabulary" || kind == "concepts") && file.path.ends_with(".concepts.json"))
        publish_file(file.path, output / "stages" / stage / "concepts.json");
      if (kind == "train") publish_curves(file.path, output / "stages" / stage);
      if (!last_of_kind || !std::filesystem::is_directory(file.path)) continue;
      if (kind == "train") publish_folder(file.path, output / "final");
      if (kind == "index") publish_folder(file.path, output / "index");
    }
}

}  // namespace trireme::coordinator::service
