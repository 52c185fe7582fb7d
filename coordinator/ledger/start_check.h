// Everything that must hold before a ledger answers anything (RELIABILITY 8.4 "Start check"). SQLite itself
// opens damaged files without a word (2.3), so each row's hash, each table's count and XOR, the event chain
// and the mark are compared. Nothing is skipped, repaired or deleted.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "coordinator/ledger/sql.h"
#include "coordinator/ledger/tables.h"

namespace trireme::coordinator::ledger {

// Row count and XOR of the row hashes of one table.
struct TableSum {
  std::uint64_t rows = 0, mix = 0;
  bool operator==(const TableSum&) const = default;
};

struct CheckedLedger {
  std::map<std::string, std::string> meta;
  std::array<TableSum, kTables.size()> sums{};
  std::uint64_t last_sequence = 0, last_hash = 0;
};

std::string sum_text(const TableSum& sum);  // as meta keeps it

// The hash before the first event's.
std::uint64_t chain_start(const std::string& run_id);

// Throws kDamaged naming file, table and row or sequences. Without a mark ("") that part is left out.
CheckedLedger check_ledger(Database& database, const io::Path& mark_file);

}  // namespace trireme::coordinator::ledger
