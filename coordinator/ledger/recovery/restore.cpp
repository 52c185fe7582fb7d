#include "coordinator/ledger/recovery/restore.h"

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/ledger/mark.h"
#include "coordinator/ledger/tables.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::ledger {
namespace {

io::Path ledger_of(const io::Path& run_folder) {
  return store::RunPaths{run_folder}.ledger();
}

std::uint64_t acknowledged_in(const io::Path& mark, const std::string& run_id) {
  try {
    return Mark::read(mark, io::xxh3_64(run_id)).value_or(0);
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace

LedgerSituation look_at_run(const io::Path& run_folder) {
  const io::Path folder = ledger_of(run_folder), scratch = folder / ".look";
  LedgerSituation situation;
  situation.current = look_at_ledger(folder / "state.db", folder / "mark", scratch);
  situation.current_without_mark = situation.current.fault.empty() || !situation.current.present
                                       ? situation.current
                                       : look_at_ledger(folder / "state.db", {}, scratch);
  situation.acknowledged = acknowledged_in(folder / "mark", situation.current_without_mark.run_id);
  for (const auto& backup : backups_of(run_folder))
    situation.backups.push_back(look_at_ledger(backup, {}, store::RunPaths{run_folder}.backups() / ".look"));
  return situation;
}

const LedgerState* best_of(const LedgerSituation& situation) {
  const LedgerState* best = nullptr;
  const auto consider = [&](const LedgerState& state) {
    if (state.fault.empty() && (best == nullptr || state.sequence > best->sequence)) best = &state;
  };
  consider(situation.current_without_mark);
  for (const auto& backup : situation.backups) consider(backup);
  return best;
}

std::vector<EventRow> events_after(const io::Path& set_aside, std::uint64_t sequence) {
  std::vector<EventRow> rows;
  if (set_aside.empty() || !io::exists(set_aside / "state.db")) return rows;
  try {
    Database database(set_aside / "state.db");
    set_up(database);
    Statement statement(database,
                        "SELECT sequence, incarnation, time_ms, kind, job, payload FROM events "
                        "WHERE sequence > ? ORDER BY sequence");
    statement.bind(1, static_cast<std::int64_t>(sequence));
    while (statement.step()) rows.push_back(event_from(statement));
  } catch (const Error&) {  // as far as it goes
  }
  return rows;
}

io::Path set_aside(const io::Path& run_folder, bool backups_too) {
  const io::Path folder = ledger_of(run_folder);
  io::make_folders(folder);
  io::Path to;
  for (int n = 1; to.empty() || io::exists(to); ++n) to = folder / ("damaged-" + std::to_string(n));
  std::vector<io::Path> what;
  // The mark last: while it is there, an empty ledger is refused.
  for (const char* name : {"state.db", "state.db-wal", "state.db-shm", "mark"})
    if (io::exists(folder / name)) what.push_back(folder / name);
  if (backups_too)
    for (const auto& backup : backups_of(run_folder)) what.push_back(backup);
  if (what.empty()) return {};
  io::make_folders(to);
  for (const auto& file : what) io::rename_durably(file, to / file.filename());  // `to` is new: over nothing
  return to;
}

io::Path install(const LedgerState& chosen, const io::Path& run_folder) {
  const io::Path folder = ledger_of(run_folder), ready = folder / ".restoring";
  io::remove_tree(ready);  // ours: of a restore that was interrupted before anything was moved
  const auto copy = [&](const io::Path& from, const char* name) {
    io::write_file_atomic(ready / name, io::read_file(from, ~std::uint64_t{0}), true, 0600);
  };
  copy(chosen.file, "state.db");
  if (const io::Path log = chosen.file.string() + "-wal"; io::exists(log)) copy(log, "state.db-wal");
  { const Mark mark(ready / "mark", io::xxh3_64(chosen.run_id), chosen.sequence); }
  io::Path old = set_aside(run_folder, false);
  for (const auto& file : io::list_folder(ready))
    io::rename_durably(file, folder / file.filename());  // set aside just now
  io::remove_tree(ready);                                // empty
  return old;
}

}  // namespace trireme::coordinator::ledger
