#include "coordinator/cli/recovery/checkpoints_command.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/checkpoints/difference.h"
#include "coordinator/checkpoints/survey.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/launch/run_files.h"
#include "coordinator/ledger/ledger.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

using checkpoints::Difference;
using checkpoints::Manifest;
using nlohmann::json;

struct Listed {
  Manifest manifest;
  bool spec_kept = true;
  std::vector<Difference> differences;  // to the job of now
  bool current = false;                 // the job of now would go on from it
};

// Equal settings with another address: data or the outputs of earlier stages were others. The newest one's
// count.
void mark_current(std::vector<Listed>& all) {
  for (auto& one : all) {
    const Listed* newest = nullptr;
    for (const auto& other : all)
      if (other.manifest.stage == one.manifest.stage && other.differences.empty() && other.spec_kept &&
          (newest == nullptr || std::pair(other.manifest.incarnation, other.manifest.step) >
                                    std::pair(newest->manifest.incarnation, newest->manifest.step)))
        newest = &other;
    one.current = newest != nullptr && newest->manifest.address == one.manifest.address;
  }
}

std::vector<Listed> all_of(const io::Path& output) {
  const io::Path file = store::RunPaths{output}.spec();
  const std::string now = io::exists(file) ? io::read_file(file, 64U << 20) : "";
  std::vector<Listed> all;
  for (auto& manifest : checkpoints::all_checkpoints(output)) {
    Listed one;
    one.spec_kept = !manifest.spec.empty();
    if (one.spec_kept) one.differences = checkpoints::differences(manifest.spec, now, manifest.stage);
    one.manifest = std::move(manifest);
    all.push_back(std::move(one));
  }
  mark_current(all);
  return all;
}

std::string settings_text(const Listed& one) {
  if (one.current) return "as now";
  if (!one.spec_kept) return "not kept";
  if (one.differences.empty()) return "as now, other data";
  std::string text;
  for (const auto& difference : one.differences)
    text += (text.empty() ? "" : ", ") + difference.setting + " " +
            (difference.was.empty() ? "absent" : difference.was) + " (now " +
            (difference.now.empty() ? "absent" : difference.now) + ")";
  return printable(text, 300);
}

std::string name_of(const Manifest& manifest) {
  return manifest.folder.parent_path().filename().string() + "/" + manifest.folder.filename().string();
}

json document_of(const Listed& one) {
  const auto& manifest = one.manifest;
  json differences = json::array();
  for (const auto& difference : one.differences)
    differences.push_back(
        {{"setting", difference.setting}, {"was", difference.was}, {"now", difference.now}});
  return {{"name", name_of(manifest)}, {"stage", manifest.stage},           {"step", manifest.step},
          {"epoch", manifest.epoch},   {"bytes", manifest.bytes},           {"best", manifest.best},
          {"current", one.current},    {"settings", differences},           {"address", manifest.address},
          {"run_id", manifest.run_id}, {"folder", manifest.folder.string()}};
}

std::vector<io::Path> chosen_folders(const std::vector<Listed>& all, const io::Path& output,
                                     const std::vector<std::string>& names) {
  std::vector<io::Path> chosen;
  for (const auto& name : names) {
    const std::size_t before = chosen.size();
    for (const auto& one : all) {
      const bool by_path = io::absolute(name).lexically_normal() == one.manifest.folder ||
                           (output / name).lexically_normal() == one.manifest.folder;
      if (by_path || name_of(one.manifest) == name || (name == "other-settings" && !one.current))
        chosen.push_back(one.manifest.folder);
    }
    if (chosen.size() == before && name != "other-settings")
      throw Error(ErrorKind::kNotFound, "there is no checkpoint '" + name + "' in " + output.string(),
                  "'trireme checkpoints " + output.string() + "' lists them");
  }
  return chosen;
}

// The ledger first, as everywhere: what it calls retired may go.
void retire_in_ledger(const io::Path& run_folder, const std::vector<io::Path>& folders) {
  const RealClock clock;
  ledger::Ledger ledger({.folder = store::RunPaths{run_folder}.ledger(),
                         .incarnation = Incarnation{store::raise_incarnation({run_folder})},
                         .run_folder = run_folder},
                        clock);
  ledger::Batch batch;
  for (auto row : ledger.checkpoints()) {
    if (std::find(folders.begin(), folders.end(), io::Path(row.folder)) == folders.end()) continue;
    row.state = ledger::CheckpointState::kRetired;
    batch.emplace_back(ledger::Event{"CheckpointRetired", row.job, json{{"step", row.step}}.dump()});
    batch.emplace_back(std::move(row));
  }
  if (!batch.empty()) ledger.commit(batch);
}

}  // namespace

int list_checkpoints(const io::Path& output, bool as_json, std::ostream& out) {
  const auto all = all_of(io::absolute(output).lexically_normal());
  if (as_json) {
    json listed = json::array();
    for (const auto& one : all) listed.push_back(document_of(one));
    out << json{{"checkpoints", listed}}.dump(1) << "\n";
    return 0;
  }
  if (all.empty()) {
    out << "There is no checkpoint in " << store::RunPaths{output}.checkpoints().string() << "\n";
    return 0;
  }
  std::vector<std::vector<std::string>> table{{"checkpoint", "step", "size", "settings"}};
  for (const auto& one : all)
    table.push_back({name_of(one.manifest), count_text(one.manifest.step), bytes_text(one.manifest.bytes),
                     settings_text(one)});
  out << table_text(table);
  return 0;
}

int remove_checkpoints(const io::Path& output, const io::Path& run_folder,
                       const std::vector<std::string>& names, std::ostream& out) {
  const io::Path place = io::absolute(output).lexically_normal();
  const auto folders = chosen_folders(all_of(place), place, names);
  const io::FileLock lock(store::RunPaths{run_folder}.lock());
  if (!io::exists(store::RunPaths{run_folder}.ledger() / "state.db"))
    throw Error(
        ErrorKind::kNotFound, "there is no ledger in " + run_folder.string(),
        "name the run folder of the standing coordinator with --run-dir; see 'trireme ledger check' for a "
        "ledger that was lost");
  if (!folders.empty()) retire_in_ledger(run_folder, folders);
  for (const auto& folder : folders) {
    io::remove_tree(folder);  // a person named it
    out << "removed " << folder.lexically_relative(place).string() << "\n";
  }
  return 0;
}

}  // namespace trireme::coordinator::cli
