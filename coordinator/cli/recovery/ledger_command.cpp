#include "coordinator/cli/recovery/ledger_command.h"

#include <algorithm>
#include <functional>
#include <set>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/checkpoints/survey.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/launch/run_files.h"
#include "coordinator/ledger/recovery/restore.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

using checkpoints::Manifest;
using nlohmann::json;
using Rows = std::vector<ledger::CheckpointRow>;

void require_run_folder(const io::Path& run_folder) {
  if (!io::is_folder(run_folder))
    throw Error(ErrorKind::kNotFound, "there is no run folder " + run_folder.string(),
                "name the output folder of the job, or the --run-dir of a standing coordinator");
}

std::string state_line(const ledger::LedgerState& state) {
  if (!state.fault.empty()) return state.fault;
  return "whole: " + state.run_id + ", up to sequence " + std::to_string(state.sequence) + ", " +
         std::to_string(state.jobs) + " jobs, " + std::to_string(state.checkpoints) + " checkpoints";
}

json document_of(const ledger::LedgerState& state) {
  return {{"file", state.file.string()}, {"whole", state.fault.empty()},
          {"fault", state.fault},        {"run_id", state.run_id},
          {"sequence", state.sequence},  {"incarnation", state.incarnation},
          {"jobs", state.jobs},          {"checkpoints", state.checkpoints}};
}

Rows rows_of(const std::vector<Manifest>& manifests, ledger::CheckpointState state) {
  Rows rows;
  for (const auto& manifest : manifests) rows.push_back(checkpoints::row_of(manifest, state));
  return rows;
}

std::string relative_to(const io::Path& run_folder, const io::Path& path) {
  return path.lexically_relative(run_folder).string();
}

// Above every incarnation that anything here has seen.
Incarnation next_incarnation(const io::Path& run_folder, std::uint64_t seen) {
  for (const auto& manifest : checkpoints::all_checkpoints(run_folder))
    seen = std::max(seen, manifest.incarnation);
  Incarnation next{store::raise_incarnation({run_folder})};
  if (next.value <= seen) {
    next.value = seen + 1;
    io::write_file_atomic(run_folder / "incarnation", std::to_string(next.value) + "\n");
  }
  return next;
}

// Rows of checkpoints for a ledger that has just been put in place.
using Gather = std::function<Rows(ledger::Ledger&)>;

void tell_ledger(const io::Path& run_folder, std::uint64_t seen, const std::string& event,
                 const Gather& gather) {
  const RealClock clock;
  ledger::Ledger ledger({.folder = store::RunPaths{run_folder}.ledger(),
                         .incarnation = next_incarnation(run_folder, seen),
                         .run_folder = run_folder},
                        clock);
  const Rows rows = gather(ledger);
  ledger::Batch batch(rows.begin(), rows.end());
  batch.emplace_back(ledger::Event{event, "", json{{"checkpoints", rows.size()}}.dump()});
  ledger.commit(batch);
}

// Outputs of the run and of its jobs.
std::set<io::Path> outputs_of(const io::Path& run_folder, ledger::Ledger& ledger) {
  std::set<io::Path> outputs{run_folder};
  for (const auto& job : ledger.jobs()) {
    const json spec = json::parse(job.spec, nullptr, false);
    if (spec.is_object() && spec.contains("spec"))
      outputs.insert(spec.at("spec").value("output", run_folder.string()));
  }
  return outputs;
}

// What was sealed after `chosen` was written is known again, once it verifies.
Rows sealed_since(const ledger::LedgerState& chosen, const io::Path& run_folder, ledger::Ledger& ledger,
                  std::ostream& out) {
  Rows rows;
  for (const auto& output : outputs_of(run_folder, ledger))
    for (const auto& manifest : checkpoints::all_checkpoints(output)) {
      if (manifest.run_id != chosen.run_id || manifest.ledger_sequence < chosen.sequence) continue;
      const std::string fault = checkpoints::fault_of(manifest);
      rows.push_back(checkpoints::row_of(
          manifest, fault.empty() ? ledger::CheckpointState::kCommitted : ledger::CheckpointState::kBad));
      out << "The checkpoint of step " << manifest.step << " was written after it: "
          << (fault.empty() ? "it verifies, and is known again" : "it is damaged, and left alone") << "\n";
    }
  return rows;
}

// An empty ledger that knows `chosen` (may be none) and, as somebody else's, every other checkpoint.
void start_afresh(const io::Path& run_folder, const io::Path& output, const io::Path& chosen,
                  std::ostream& out) {
  std::uint64_t seen = 0;
  const auto situation = ledger::look_at_run(run_folder);
  if (const auto* best = ledger::best_of(situation)) seen = best->incarnation;
  Rows rows = rows_of(checkpoints::all_checkpoints(output), ledger::CheckpointState::kKept);
  for (auto& row : rows)
    if (!chosen.empty() && io::Path(row.folder) == chosen) row.state = ledger::CheckpointState::kChosen;
  const io::Path old = ledger::set_aside(run_folder, true);
  // Said by the ledger that has just been set aside; the new one writes its own.
  for (const char* name : {"progress.json", "terminal.json"}) io::remove_file(run_folder / name);
  tell_ledger(run_folder, seen, "LedgerStartedAfresh", [&](ledger::Ledger&) { return rows; });
  if (!old.empty()) out << "What was there of the ledger is now in " << old.string() << "\n";
  out << "A new ledger was begun; it knows of " << rows.size()
      << (rows.size() == 1 ? " checkpoint" : " checkpoints") << " of others, and keeps them.\n";
}

// A whole ledger that has come further is not thrown away for an older checkpoint, least of all because the
// command was repeated.
bool goes_on_by_itself(const io::Path& run_folder, const io::Path& output, const Manifest& chosen) {
  const auto current = ledger::look_at_run(run_folder).current;
  if (!current.fault.empty()) return false;
  for (const auto& other : checkpoints::all_checkpoints(output))
    if (other.run_id == current.run_id && other.stage == chosen.stage && other.step > chosen.step)
      throw Error(
          ErrorKind::kConflict,
          "the ledger is whole and stage " + chosen.stage + " has come to step " + std::to_string(other.step),
          "leave --resume-from away to go on from there; to go back, first take the later ones out with "
          "'trireme checkpoints " +
              output.string() + " --remove …'");
  return chosen.run_id == current.run_id;
}

}  // namespace

int check_ledger_of(const io::Path& run_folder, bool as_json, std::ostream& out) {
  require_run_folder(run_folder);
  const io::FileLock lock(store::RunPaths{run_folder}.lock());
  const auto situation = ledger::look_at_run(run_folder);
  const auto on_disk = checkpoints::all_checkpoints(run_folder);
  const std::string traces = checkpoints::traces_of_a_run(run_folder);
  const bool whole = situation.current.fault.empty() || (!situation.current.present && traces.empty());
  if (as_json) {
    json backups = json::array(), found = json::array();
    for (const auto& backup : situation.backups) backups.push_back(document_of(backup));
    for (const auto& manifest : on_disk) found.push_back(relative_to(run_folder, manifest.folder));
    out << json{{"ledger", document_of(situation.current)},
                {"acknowledged", situation.acknowledged},
                {"backups", backups},
                {"checkpoints", found}}
               .dump(1)
        << "\n";
    return whole ? 0 : exit_code(ErrorKind::kDamaged);
  }
  out << "ledger   " << printable_lines(state_line(situation.current)) << "\n";
  if (!situation.current.fault.empty() && situation.current_without_mark.fault.empty())
    out << "         without its mark it verifies up to sequence " << situation.current_without_mark.sequence
        << "\n";
  for (const auto& backup : situation.backups)
    out << "backup   " << relative_to(run_folder, backup.file) << "  " << printable_lines(state_line(backup))
        << "\n";
  for (const auto& manifest : on_disk)
    out << "found    " << relative_to(run_folder, manifest.folder) << "  of " << manifest.run_id << ", "
        << bytes_text(manifest.bytes) << "\n";
  if (whole) return 0;
  const auto* best = ledger::best_of(situation);
  out << "\n"
      << (best != nullptr
              ? "'trireme ledger restore " + run_folder.string() + "' would go on from " +
                    relative_to(run_folder, best->file) + ", sequence " + std::to_string(best->sequence)
              : "no ledger here verifies: 'trireme launch --resume-from ckpt/<stage>/step-… job.json', "
                "or 'trireme ledger restore --afresh " +
                    run_folder.string() + "'")
      << ".\n";
  return exit_code(ErrorKind::kDamaged);
}

int restore_ledger(const io::Path& run_folder, bool afresh, std::ostream& out) {
  require_run_folder(run_folder);
  const io::FileLock lock(store::RunPaths{run_folder}.lock());
  if (afresh) {
    start_afresh(run_folder, run_folder, {}, out);
    return 0;
  }
  const auto situation = ledger::look_at_run(run_folder);
  if (situation.current.fault.empty()) {
    out << "The ledger is whole, nothing was changed: " << state_line(situation.current) << "\n";
    return 0;
  }
  const auto* best = ledger::best_of(situation);
  if (best == nullptr)
    throw Error(
        ErrorKind::kDamaged, "neither the ledger nor a backup in " + run_folder.string() + " verifies",
        "'trireme launch --resume-from ckpt/<stage>/step-… job.json' goes on from a checkpoint, 'trireme "
        "ledger restore --afresh' begins an empty ledger and keeps everything else");
  const ledger::LedgerState chosen = *best;
  const io::Path old = ledger::install(chosen, run_folder);
  out << "Installed " << relative_to(run_folder, chosen.file) << ", " << state_line(chosen) << ".\n";
  if (!old.empty()) out << "What was there is now in " << old.string() << "\n";
  const auto lost = ledger::events_after(old, chosen.sequence);
  for (const auto& event : lost)
    out << "lost     " << event.sequence << "  " << event.event.kind << " " << event.event.job << " "
        << printable(event.event.payload, 200) << "\n";
  if (lost.empty() && situation.acknowledged > chosen.sequence)
    out << "What sequences " << chosen.sequence + 1 << " to " << situation.acknowledged
        << " said cannot be read any more.\n";
  tell_ledger(run_folder, chosen.incarnation, "LedgerRestored",
              [&](ledger::Ledger& ledger) { return sealed_since(chosen, run_folder, ledger, out); });
  out << "Tasks that this ledger does not know are done again, with the same bytes; jobs that were submitted "
         "since "
         "must be sent again.\n";
  return 0;
}

void start_from_checkpoint(const io::Path& run_folder, const io::Path& output, const io::Path& given,
                           std::ostream& out) {
  io::Path folder = io::absolute(given).lexically_normal();
  if (!io::is_folder(folder)) folder = (output / given).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();  // a slash at the end
  if (!io::is_folder(folder))
    throw Error(ErrorKind::kNotFound, "there is no checkpoint " + given.string(),
                "see 'trireme checkpoints " + output.string() + "'");
  if (folder.parent_path().parent_path() != store::RunPaths{output}.checkpoints())
    throw Error(
        ErrorKind::kInvalid,
        folder.string() + " does not lie in " + store::RunPaths{output}.checkpoints().string() + "/<stage>/",
        "copy it there: a run goes on from checkpoints of its own output only");
  const auto manifest = checkpoints::read_manifest(folder);
  if (!manifest) throw Error(ErrorKind::kInvalid, folder.string() + " has no manifest.json of a checkpoint");
  if (const std::string fault = checkpoints::fault_of(*manifest); !fault.empty())
    throw Error(ErrorKind::kDamaged, "the checkpoint cannot be used: " + fault, "choose another one");
  const io::FileLock lock(store::RunPaths{run_folder}.lock());
  if (goes_on_by_itself(run_folder, output, *manifest)) {
    out << "The ledger is whole and knows this checkpoint: nothing was changed.\n";
    return;
  }
  start_afresh(run_folder, output, folder, out);
  out << "Stage " << printable(manifest->stage, 100) << " goes on at step " << manifest->step << ".\n";
}

}  // namespace trireme::coordinator::cli
