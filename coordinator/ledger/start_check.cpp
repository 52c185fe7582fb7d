#include "coordinator/ledger/start_check.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "coordinator/ledger/mark.h"

namespace trireme::coordinator::ledger {
namespace {

[[noreturn]] void damaged(const Database& database, const std::string& what) {
  throw Error(ErrorKind::kDamaged, "ledger " + database.file().string() + " is damaged: " + what, kWaysOut);
}

void check_integrity(Database& database) {
  const std::string verdict = database.text_of("PRAGMA integrity_check(1)");
  if (verdict != "ok") damaged(database, "SQLite's integrity check says: " + verdict);
}

[[noreturn]] void other_version(const Database& database, const std::string& found) {
  throw Error(ErrorKind::kInvalid,
              "ledger " + database.file().string() + " has schema version " + found +
                  ", this program writes " + std::to_string(kSchemaVersion) + " and takes over those before",
              "nothing was changed; use the version of Trireme that made it, or another output");
}

// Of a ledger whose tables are not ours: what it says of itself, "" when it says nothing.
std::string claimed_version(Database& database) {
  try {
    Statement row(database, "SELECT value FROM meta WHERE name = 'schema_version'");
    return row.step() ? std::string(row.text(0)) : "";
  } catch (const Error&) {
    return "";
  }
}

// Of a version that is read here, or nothing.
std::optional<std::int64_t> version_of(const std::string& text) {
  for (std::int64_t version = 1; version <= kSchemaVersion; ++version)
    if (text == std::to_string(version)) return version;
  return std::nullopt;
}

void check_schema(Database& database) {
  const std::string claimed = claimed_version(database);
  const auto version = version_of(claimed);
  std::vector<std::string> expected = schema_sql(version.value_or(kSchemaVersion)), found;
  Statement statement(database, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL");
  while (statement.step()) found.emplace_back(statement.text(0));
  std::sort(expected.begin(), expected.end());
  std::sort(found.begin(), found.end());
  if (!claimed.empty() && !version) other_version(database, claimed);
  if (expected != found)
    damaged(database,
            "the tables are not those of schema version " + std::to_string(version.value_or(kSchemaVersion)));
}

std::uint64_t as_unsigned(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

TableSum check_rows(Database& database, Table table) {
  const auto& info = info_of(table);
  const int columns = static_cast<int>(info.columns.size());
  TableSum sum;
  Statement rows(database, select_sql(table));
  for (Cells cells; rows.step();) {
    read_cells(rows, columns, cells);
    const std::uint64_t hash = hash_of(table, cells);
    if (rows.type(columns) != 'i' || as_unsigned(rows.integer(columns)) != hash)
      damaged(database, "table " + std::string(info.name) + ", row " + key_text(table, cells) +
                            " is not what was written");
    ++sum.rows;
    sum.mix ^= hash;
  }
  return sum;
}

std::map<std::string, std::string> read_meta(Database& database) {
  std::map<std::string, std::string> meta;
  Statement rows(database, select_sql(Table::kMeta));
  while (rows.step()) meta.emplace(rows.text(0), rows.text(1));
  for (const char* name : {"schema_version", "run_id", "incarnation", "events"})
    if (!meta.contains(name)) damaged(database, "table meta has no row " + std::string(name));
  if (!version_of(meta.at("schema_version"))) other_version(database, meta.at("schema_version"));
  return meta;
}

void check_events(Database& database, CheckedLedger& ledger) {
  const int columns = static_cast<int>(info_of(Table::kEvents).columns.size());
  ledger.last_hash = chain_start(ledger.meta.at("run_id"));
  Statement rows(database, select_sql(Table::kEvents));
  for (Cells cells; rows.step();) {
    read_cells(rows, columns, cells);
    const std::uint64_t expected = ledger.last_sequence + 1;
    if (rows.type(0) != 'i' || as_unsigned(rows.integer(0)) != expected)
      damaged(database, "table events: sequence " + std::to_string(expected) + " is missing, " +
                            key_text(Table::kEvents, cells) + " follows " +
                            std::to_string(ledger.last_sequence));
    const std::uint64_t hash = hash_of(Table::kEvents, cells, ledger.last_hash);
    if (rows.type(columns) != 'i' || as_unsigned(rows.integer(columns)) != hash)
      damaged(database, "table events, sequence " + std::to_string(expected) +
                            " does not follow from the one before it");
    ledger.last_sequence = expected;
    ledger.last_hash = hash;
  }
  const std::string tail = std::to_string(ledger.last_sequence) + ":" + io::hex(ledger.last_hash);
  if (ledger.meta.at("events") != tail)
    damaged(database, "table events ends at " + tail + ", table meta says " + ledger.meta.at("events"));
}

void check_mark(Database& database, const io::Path& mark_file, const CheckedLedger& ledger) {
  std::optional<std::uint64_t> mark;
  try {
    mark = Mark::read(mark_file, io::xxh3_64(ledger.meta.at("run_id")));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound) throw;
    damaged(database, "its high-water mark " + mark_file.string() + " is missing");
  }
  if (!mark)
    damaged(database, "its high-water mark " + mark_file.string() +
                          " does not verify: it is damaged, or state.db belongs to another run");
  if (*mark > ledger.last_sequence)
    damaged(database, "it ends at sequence " + std::to_string(ledger.last_sequence) +
                          ", but sequences up to " + std::to_string(*mark) + " were acknowledged: events " +
                          std::to_string(ledger.last_sequence + 1) + " to " + std::to_string(*mark) +
                          " are lost (state.db-wal is cut, deleted or damaged)");
}

}  // namespace

std::string sum_text(const TableSum& sum) {
  return std::to_string(sum.rows) + ":" + io::hex(sum.mix);
}

std::uint64_t chain_start(const std::string& run_id) {
  return io::xxh3_64("trireme-ledger/" + run_id);
}

CheckedLedger check_ledger(Database& database, const io::Path& mark_file) {
  check_integrity(database);
  check_schema(database);
  CheckedLedger ledger;
  for (const Table table : kTables)
    if (table != Table::kEvents) ledger.sums[static_cast<std::size_t>(table)] = check_rows(database, table);
  ledger.meta = read_meta(database);
  for (const Table table : kTables) {
    if (table == Table::kEvents || table == Table::kMeta) continue;
    const std::string name = "table." + std::string(info_of(table).name);
    const std::string found = sum_text(ledger.sums[static_cast<std::size_t>(table)]);
    if (!ledger.meta.contains(name) || ledger.meta.at(name) != found)
      damaged(database, "table " + name.substr(6) + " has rows:mix " + found + ", table meta says " +
                            (ledger.meta.contains(name) ? ledger.meta.at(name) : "nothing") +
                            ": a row vanished or came from elsewhere");
  }
  check_events(database, ledger);
  if (!mark_file.empty()) check_mark(database, mark_file, ledger);
  return ledger;
}

}  // namespace trireme::coordinator::ledger
