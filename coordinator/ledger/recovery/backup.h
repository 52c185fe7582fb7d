// Copies of the ledger outside of its folder, and looking at ledgers without changing them (RELIABILITY 8.4).
// <run folder>/backup/ledger-<last sequence>.db, 0600 in a 0700 folder: one SQLite file, nothing beside it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/ledger/ledger.h"

namespace trireme::coordinator::ledger {

// What a ledger file holds. Damage is a value here, not an error.
struct LedgerState {
  io::Path file;
  bool present = false;  // there is such a file, and it has tables
  std::string fault;     // "" when all of it verifies
  std::string run_id;
  std::uint64_t sequence = 0, incarnation = 0;
  std::size_t jobs = 0, checkpoints = 0;  // checkpoints: committed
};

// Works on a copy in `scratch` (removed first and afterwards), so that the files stay as they are. With
// `mark` (may be empty) the high-water mark is compared, too.
LedgerState look_at_ledger(const io::Path& state_db, const io::Path& mark, const io::Path& scratch);

// Newest first.
std::vector<io::Path> backups_of(const io::Path& run_folder);

// Makes a backup of `snapshot` (Ledger::snapshot, in <run folder>/backup): verified, synced, renamed; the
// newest two stay. Throws when it does not verify.
void keep_backup(const io::Path& snapshot, const io::Path& run_folder,
                 const io::FileSystem& files = io::disk());
io::Path snapshot_place(const io::Path& run_folder);  // where to put the snapshot

}  // namespace trireme::coordinator::ledger
