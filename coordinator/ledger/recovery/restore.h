// The ways out of a lost or damaged ledger, for a person who has decided (RELIABILITY 8.4). Nothing is
// deleted: what was there moves to <run folder>/ledger/damaged-<n>/. The run folder's LOCK must be held.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/ledger/recovery/backup.h"

namespace trireme::coordinator::ledger {

// The ledger as it lies, with and without its mark, and the backups, newest first.
struct LedgerSituation {
  LedgerState current;               // held against its mark
  LedgerState current_without_mark;  // up to where its rows and events verify
  std::uint64_t acknowledged = 0;    // the mark's sequence, where it can be read
  std::vector<LedgerState> backups;
};
LedgerSituation look_at_run(const io::Path& run_folder);

// Of what verifies, that with the highest sequence; nullptr when nothing does.
const LedgerState* best_of(const LedgerSituation& situation);

// Events of the files that were set aside, after `sequence`, as far as they can be read.
std::vector<EventRow> events_after(const io::Path& set_aside, std::uint64_t sequence);

// Moves state.db, its log and the mark, and with `backups_too` the backups; the folder, "" when nothing was
// there.
io::Path set_aside(const io::Path& run_folder, bool backups_too);

// Puts `chosen` (of look_at_run) in the ledger's place, setting aside what is there; returns where that lies.
io::Path install(const LedgerState& chosen, const io::Path& run_folder);

}  // namespace trireme::coordinator::ledger
