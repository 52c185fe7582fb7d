// The coordinator's durable state in SQLite (RELIABILITY 8.4): jobs, stages, leases, checkpoints, quarantine
// and a gapless, chained log of events. Commit before you act or answer: what commit() returned from survives
// every crash; what it threw on did not happen. One thread. Files: state.db, state.db-wal, mark, reserve,
// 0600 in a 0700 folder.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/io/file.h"
#include "coordinator/ledger/rows.h"

namespace trireme::coordinator::ledger {

struct LedgerOptions {
  io::Path folder;  // <run folder>/ledger
  Incarnation incarnation;
  std::uint64_t reserve_bytes = 16U << 20;
  std::uint64_t merge_bytes = 64U << 20;  // the WAL is merged into state.db beyond this
  std::string
      traces;  // what shows that there was a ledger before: without one, the start is refused (kDamaged)
  io::Path run_folder = {};  // its backups get a copy of a ledger before it is lifted; "": none is made
};

class Ledger {
 public:
  // Opens or makes the ledger, checks all of it (start_check.h), stores the incarnation and the RunOpened
  // event. One of an older schema version is lifted to this one in the same transaction, after a backup.
  // Throws kConflict (held by another process, or the incarnation is not higher than the stored one),
  // kDamaged (with file, table, row or sequences, and the way out), kDiskFull, kInvalid (cannot be written).
  Ledger(LedgerOptions options, const Clock& clock);
  ~Ledger();

  // One transaction. At least one event among the writes (kInternal). kDiskFull: rolled back, may be tried
  // again; any other error: this object is done for, the process has to leave.
  void commit(const Batch& batch);

  // Newest committed event; checkpoints' manifests carry it, and `require_at_least` compares (kDamaged).
  std::uint64_t last_sequence() const;
  void require_at_least(std::uint64_t sequence, const std::string& said_by) const;
  void sync_mark();  // with every training checkpoint

  const std::string& run_id() const;
  Incarnation incarnation() const;

  std::vector<JobRow> jobs();
  std::vector<StageRow> stages(const std::string& job);
  std::vector<CheckpointRow> checkpoints();
  std::vector<QuarantineRow> quarantine();
  // In the order of their numbers; linear in what is visited, however many other jobs and stages there are.
  void for_each_lease(const std::string& job, const std::function<void(const LeaseRow&)>& visit);
  void for_each_lease(const std::string& job, std::int64_t stage,
                      const std::function<void(const LeaseRow&)>& visit);
  // Of all jobs: of leases whose worker never said how they ended.
  std::set<std::string> unanswered_addresses();
  LeaseId last_lease();  // highest ever granted
  // Those of a job and of none ("": all), in their order; costs what is given back, however many there are.
  std::vector<EventRow> events(const std::string& job, std::uint64_t after, std::int64_t limit);

  // Disk full: give the reserve's space back, commit what has to be, take it again when there is room.
  void release_reserve();
  bool restore_reserve();  // false while there is no room

  std::uint64_t file_bytes(const std::string& file) const;  // "db", "wal"
  double start_seconds() const;                             // the start check
  void merge_wal();                                         // also done by commit() beyond merge_bytes
  // Everything as of now, as one new file (0600, not synced): a backup once it verifies (recovery/backup.h).
  void snapshot(const io::Path& file);
  std::uint64_t first_incarnation();  // that this ledger was opened by

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::coordinator::ledger
