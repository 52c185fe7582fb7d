#include "coordinator/service/outputs.h"

#include <unistd.h>
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

void publish_stage(const io::Path& output, const std::string& stage, const std::string& kind,
                   bool last_of_kind, const std::vector<CommittedTask>& tasks) {
  for (const auto& task : tasks)
    for (const auto& file : task.done.outputs) {
      if (!file.name.empty()) continue;
      if (kind == "evaluate" && file.path.ends_with(".evaluation.json"))
        publish_file(file.path, output / "stages" / stage / "evaluation.json");
      if (kind == "vocabulary" && file.path.ends_with(".vocab.txt"))
        publish_file(file.path, output / "stages" / stage / "vocab.txt");
      if (!last_of_kind || !std::filesystem::is_directory(file.path)) continue;
      if (kind == "train") publish_folder(file.path, output / "final");
      if (kind == "index") publish_folder(file.path, output / "index");
    }
}

}  // namespace trireme::coordinator::service
