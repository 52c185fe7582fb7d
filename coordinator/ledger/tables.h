// The tables as data: names, columns, and how a row becomes cells and back. Every row ends with `hash`, the
// xxh3 of its table's name and all its cells with their types, so that a changed bit in any of them is seen.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/ledger/rows.h"
#include "coordinator/ledger/sql.h"

namespace trireme::coordinator::ledger {

using Cell = std::variant<std::int64_t, double, std::string_view>;
using Cells = std::vector<Cell>;

enum class Table { kMeta, kJobs, kStages, kLeases, kCheckpoints, kQuarantine, kEvents };
inline constexpr std::array<Table, 7> kTables{Table::kMeta,   Table::kJobs,        Table::kStages,
                                              Table::kLeases, Table::kCheckpoints, Table::kQuarantine,
                                              Table::kEvents};
// 1: the tables. 2: an index over a job's leases by stage. 3: one over a job's events.
inline constexpr std::int64_t kSchemaVersion = 3;

struct TableInfo {
  std::string_view name;
  std::vector<std::string_view> columns;  // "task TEXT"; without `hash`
  int key_columns;                        // the first so many are the primary key
};
const TableInfo& info_of(Table table);
std::string create_sql(Table table);
// What a ledger of the version was made by, and what lifts one of `from` to kSchemaVersion.
std::vector<std::string> schema_sql(std::int64_t version);
std::vector<std::string> upgrade_sql(std::int64_t from);
// All columns and the hash, in key order; `where`: constant text with places for values, "" for every row.
std::string select_sql(Table table, std::string_view where = "");

// Hash of a row; the events' chain passes the hash of the row before as `previous`.
std::uint64_t hash_of(Table table, const Cells& cells, std::uint64_t previous = 0);

// Views into the row. `cells` is cleared first: one for all rows saves an allocation each.
void read_cells(const Statement& row, int columns, Cells& cells);
std::string key_text(Table table, const Cells& cells);  // for messages

Cells cells_of(const JobRow& row);
Cells cells_of(const StageRow& row);
Cells cells_of(const LeaseRow& row);
Cells cells_of(const CheckpointRow& row);
Cells cells_of(const QuarantineRow& row);
Cells cells_of(const EventRow& row);

JobRow job_from(const Statement& row);
StageRow stage_from(const Statement& row);
LeaseRow lease_from(const Statement& row);
CheckpointRow checkpoint_from(const Statement& row);
QuarantineRow quarantine_from(const Statement& row);
EventRow event_from(const Statement& row);

}  // namespace trireme::coordinator::ledger
