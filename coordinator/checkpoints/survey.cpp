#include "coordinator/checkpoints/survey.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "jobs/store/checkpoint.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::checkpoints {
namespace {

using Rows = std::vector<ledger::CheckpointRow>;

const ledger::CheckpointRow* row_at(const Rows& rows, const io::Path& folder) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return io::Path(row.folder) == folder; });
  return found == rows.end() ? nullptr : &*found;
}

bool names(const ledger::CheckpointRow* row, const Manifest& manifest) {
  return row != nullptr &&
         (row->state != ledger::CheckpointState::kRetired || row->manifest_xxh3 == manifest.xxh3);
}

std::vector<io::Path> folders_in(const io::Path& parent) {
  std::vector<io::Path> found = io::list_folder_if_there(parent);
  std::erase_if(found, [](const auto& path) { return !io::is_folder(path); });
  return found;
}

// ".tmp-<step>-<incarnation>" of an incarnation that this ledger has seen end.
bool is_half_written(const std::string& name, const KnownCheckpoints& known) {
  const std::size_t dash = name.rfind('-');
  if (!store::is_checkpoint_aside_name(name) || dash < 5) return false;
  const std::uint64_t incarnation = std::strtoull(name.c_str() + dash + 1, nullptr, 10);
  return incarnation >= known.first_incarnation && incarnation < known.incarnation;
}

std::string list_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text;
}

bool holds_anything(const io::Path& folder) {
  return io::is_folder(folder) && !io::list_folder(folder).empty();
}

bool same_series(const ledger::CheckpointRow& row, const io::Path& folder, const std::string& address) {
  return (row.state == ledger::CheckpointState::kCommitted || row.state == ledger::CheckpointState::kBad ||
          row.state == ledger::CheckpointState::kAdopted) &&
         row.address == address && io::Path(row.folder).parent_path() == folder;
}

}  // namespace

std::vector<Manifest> all_checkpoints(const io::Path& output) {
  std::vector<Manifest> found;
  for (const auto& stage : folders_in(store::RunPaths{output}.checkpoints()))
    for (const auto& folder : folders_in(stage))
      if (!store::is_checkpoint_aside_name(folder.filename().string()))
        if (auto manifest = read_manifest(folder)) found.push_back(std::move(*manifest));
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::pair(a.folder.parent_path(), a.step) < std::pair(b.folder.parent_path(), b.step);
  });
  return found;
}

Survey survey_checkpoints(const io::Path& output, const KnownCheckpoints& known) {
  Survey survey;
  for (const auto& manifest : all_checkpoints(output)) {
    const auto* row = row_at(known.rows, manifest.folder);
    if (names(row, manifest)) {
      if (row->state == ledger::CheckpointState::kRetired) survey.leftovers.push_back(manifest.folder);
    } else if (manifest.run_id != known.run_id) {
      survey.unknown.push_back(manifest);
    } else if (const std::string fault = fault_of(manifest); fault.empty()) {
      survey.adopted.push_back(row_of(manifest, ledger::CheckpointState::kCommitted));
    } else {
      survey.broken.push_back(fault);
    }
  }
  for (const auto& stage : folders_in(store::RunPaths{output}.checkpoints()))
    for (const auto& folder : folders_in(stage)) {
      const auto* row = row_at(known.rows, folder);
      const bool half_removed = row != nullptr && row->state == ledger::CheckpointState::kRetired &&
                                !io::exists(folder / "manifest.json");
      if (half_removed || is_half_written(folder.filename().string(), known))
        survey.leftovers.push_back(folder);
    }
  return survey;
}

std::vector<std::string> results_in(const io::Path& output) {
  std::vector<std::string> found;
  for (const char* name : {"final", "index", "export", "stages"})
    if (holds_anything(output / name)) found.push_back(std::string(name) + "/");
  for (const auto& manifest : all_checkpoints(output))
    found.push_back(manifest.folder.lexically_relative(output).string());
  return found;
}

void refuse_unknown(const io::Path& output, const std::string& what_is_wrong,
                    const std::vector<std::string>& found) {
  throw Error(
      ErrorKind::kDamaged,
      what_is_wrong + ": " + output.string() + " holds " + list_of(found) +
          "; nothing was changed, and nothing of it is used or removed",
      "see 'trireme ledger check " + output.string() +
          "'; go on with 'trireme ledger restore' (from a backup), with 'trireme launch --resume-from "
          "ckpt/<stage>/step-… job.json' (a new ledger from a checkpoint), with 'trireme ledger restore "
          "--afresh' (a new ledger, everything stays), or choose another output");
}

std::string traces_of_a_run(const io::Path& run_folder) {
  std::vector<std::string> found;
  if (const io::Path file = store::RunPaths{run_folder}.progress(); io::exists(file)) {
    const auto progress = nlohmann::json::parse(io::read_file(file, 64U << 20), nullptr, false);
    if (progress.is_object() && progress.value("sequence", std::uint64_t{0}) > 0)
      found.push_back("progress.json, which says that a ledger came to sequence " +
                      std::to_string(progress.value("sequence", std::uint64_t{0})));
  }
  if (holds_anything(store::RunPaths{run_folder}.backups())) found.push_back("backup/");
  for (auto& name : results_in(run_folder)) found.push_back(std::move(name));
  return list_of(found);
}

Rows resumable(const Rows& rows, const std::string& checkpoint_folder, const std::string& address) {
  Rows found;
  for (const auto& row : rows)
    if (same_series(row, checkpoint_folder, address)) found.push_back(row);
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return found;
}

Rows superseded(const Rows& rows, const ledger::CheckpointRow& newest, std::int64_t keep_last) {
  Rows out;
  std::int64_t whole = 0;
  bool best_kept = false;
  for (const auto& row : resumable(rows, io::Path(newest.folder).parent_path().string(), newest.address)) {
    if (row.state == ledger::CheckpointState::kAdopted) continue;  // of another ledger
    if (row.state == ledger::CheckpointState::kBad) {
      if (whole >= keep_last) out.push_back(row);
      continue;
    }
    const bool newest_best = row.best != 0 && !best_kept;
    best_kept = best_kept || row.best != 0;
    if (whole++ >= keep_last && !newest_best) out.push_back(row);
  }
  return out;
}

ManifestSequence newest_manifest(const io::Path& output, const KnownCheckpoints& known) {
  ManifestSequence newest;
  for (const auto& manifest : all_checkpoints(output))
    if (manifest.run_id == known.run_id && manifest.ledger_sequence > newest.sequence &&
        !names(row_at(known.rows, manifest.folder), manifest))
      newest = {manifest.ledger_sequence, (manifest.folder / "manifest.json").string()};
  return newest;
}

}  // namespace trireme::coordinator::checkpoints
