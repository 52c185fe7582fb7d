#include "coordinator/ledger/recovery/backup.h"

#include <algorithm>
#include <cstdio>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/ledger/start_check.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::ledger {
namespace {

constexpr std::size_t kBackups = 2;

void copy_if_there(const io::Path& from, const io::Path& to) {
  if (io::exists(from)) io::write_file_atomic(to, io::read_file(from, ~std::uint64_t{0}), false, 0600);
}

void read_into(LedgerState& state, const io::Path& copy, const io::Path& mark) {
  try {
    Database database(copy);
    set_up(database);
    state.present = has_tables(database);
    if (!state.present) {
      state.fault = "it is empty";
      return;
    }
    const CheckedLedger checked = check_ledger(database, mark);
    state.run_id = checked.meta.at("run_id");
    state.sequence = checked.last_sequence;
    state.incarnation = std::strtoull(checked.meta.at("incarnation").c_str(), nullptr, 10);
    const auto count = [&](const char* sql) {
      return static_cast<std::size_t>(std::strtoull(database.text_of(sql).c_str(), nullptr, 10));
    };
    state.jobs = count("SELECT count(*) FROM jobs");
    state.checkpoints = count("SELECT count(*) FROM checkpoints WHERE state = 'committed'");
  } catch (const Error& error) {
    state.fault = error.what();
  }
}

}  // namespace

LedgerState look_at_ledger(const io::Path& state_db, const io::Path& mark, const io::Path& scratch) {
  LedgerState state;
  state.file = state_db;
  if (!io::exists(state_db)) {
    state.fault = state_db.string() + " is missing";
    return state;
  }
  io::remove_tree(scratch);  // ours: a copy that an earlier look has left
  copy_if_there(state_db, scratch / state_db.filename());
  copy_if_there(state_db.string() + "-wal", scratch / (state_db.filename().string() + "-wal"));
  read_into(state, scratch / state_db.filename(), mark);
  // Said of the file that was looked at, not of the copy.
  for (std::size_t at; (at = state.fault.find(scratch.string())) != std::string::npos;)
    state.fault.replace(at, scratch.string().size(), state_db.parent_path().string());
  io::remove_tree(scratch);
  return state;
}

std::vector<io::Path> backups_of(const io::Path& run_folder) {
  std::vector<io::Path> found;
  for (const auto& path : io::list_folder_if_there(store::RunPaths{run_folder}.backups())) {
    const std::string name = path.filename().string();
    if (name.starts_with("ledger-") && name.ends_with(".db")) found.push_back(path);
  }
  std::reverse(found.begin(), found.end());
  return found;
}

io::Path snapshot_place(const io::Path& run_folder) {
  const io::Path folder = store::RunPaths{run_folder}.backups();
  io::make_folders(folder);
  io::set_mode(folder, 0700);
  return folder / ".snapshot.db";
}

void keep_backup(const io::Path& snapshot, const io::Path& run_folder, const io::FileSystem& files) {
  const LedgerState state = look_at_ledger(snapshot, {}, store::RunPaths{run_folder}.backups() / ".look");
  if (!state.fault.empty())
    throw Error(ErrorKind::kDamaged, "the backup of the ledger does not verify: " + state.fault);
  io::sync_file(snapshot, files);
  char name[48];
  std::snprintf(name, sizeof name, "ledger-%012llu.db", static_cast<unsigned long long>(state.sequence));
  // Over a backup of the same sequence: the same rows.
  io::rename_durably(snapshot, store::RunPaths{run_folder}.backups() / name, files);
  const auto all = backups_of(run_folder);
  // Older than two that verify, and written by this program: nobody would choose it.
  for (std::size_t i = kBackups; i < all.size(); ++i) io::remove_file(all[i]);
}

}  // namespace trireme::coordinator::ledger
