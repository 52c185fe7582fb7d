#include "coordinator/ledger/writer.h"

#include "common/base/error.h"
#include "common/io/hash.h"

namespace trireme::coordinator::ledger {
namespace {

std::string put_sql(Table table) {
  const auto& info = info_of(table);
  std::string marks = "?";
  for (std::size_t i = 0; i < info.columns.size(); ++i) marks += ",?";
  return "INSERT OR REPLACE INTO " + std::string(info.name) + " VALUES (" + marks + ")";
}

std::string old_hash_sql(Table table) {
  const auto& info = info_of(table);
  std::string where;
  for (int i = 0; i < info.key_columns; ++i) {
    const auto column = info.columns[static_cast<std::size_t>(i)];
    where += std::string(i != 0 ? " AND " : "") + std::string(column.substr(0, column.find(' '))) + " = ?";
  }
  return "SELECT hash FROM " + std::string(info.name) + " WHERE " + where;
}

void bind_cell(Statement& statement, int parameter, const Cell& cell) {
  std::visit([&](const auto& value) { statement.bind(parameter, value); }, cell);
}

struct TableWriter {
  TableWriter(Database& database, Table which)
      : put(database, put_sql(which)), old_hash(database, old_hash_sql(which)) {}
  Statement put, old_hash;
};

struct Chain {
  std::uint64_t sequence = 0, hash = 0;
};

}  // namespace

struct Writer::State {
  std::array<std::unique_ptr<TableWriter>, kTables.size()> tables;
  std::array<TableSum, kTables.size()> sums, accepted_sums;
  Chain chain, accepted_chain;

  // True when the row is new.
  void put(Table table, const Cells& cells) {
    const std::uint64_t hash = hash_of(table, cells);
    auto& [put_row, old_hash] = *tables[static_cast<std::size_t>(table)];
    auto& sum = sums[static_cast<std::size_t>(table)];
    for (int i = 0; i < info_of(table).key_columns; ++i)
      bind_cell(old_hash, i + 1, cells[static_cast<std::size_t>(i)]);
    if (old_hash.step())
      sum.mix ^= static_cast<std::uint64_t>(old_hash.integer(0));
    else
      ++sum.rows;
    old_hash.reset();
    sum.mix ^= hash;
    insert(put_row, cells, hash);
  }

  static void insert(Statement& statement, const Cells& cells, std::uint64_t hash) {
    int parameter = 0;
    for (const auto& cell : cells) bind_cell(statement, ++parameter, cell);
    statement.bind(++parameter, static_cast<std::int64_t>(hash));
    statement.run();
  }

  void append(const Event& event, std::uint64_t incarnation, std::int64_t time_ms) {
    const EventRow row{chain.sequence + 1, incarnation, time_ms, event};
    const Cells cells = cells_of(row);
    const std::uint64_t hash = hash_of(Table::kEvents, cells, chain.hash);
    insert(tables[static_cast<std::size_t>(Table::kEvents)]->put, cells, hash);
    chain = {row.sequence, hash};
  }

  void put_meta(const std::string& name, const std::string& value) {
    put(Table::kMeta, {std::string_view(name), std::string_view(value)});
  }
};

Writer::Writer(Database& database, const CheckedLedger& checked) : state_(std::make_unique<State>()) {
  for (const Table table : kTables)
    state_->tables[static_cast<std::size_t>(table)] = std::make_unique<TableWriter>(database, table);
  state_->sums = state_->accepted_sums = checked.sums;
  state_->chain = state_->accepted_chain = {checked.last_sequence, checked.last_hash};
}

Writer::~Writer() = default;

void Writer::write(const Batch& batch, std::uint64_t incarnation, std::int64_t time_ms) {
  for (const Write& one : batch) {
    if (const auto* event = std::get_if<Event>(&one)) state_->append(*event, incarnation, time_ms);
    if (const auto* job = std::get_if<JobRow>(&one)) state_->put(Table::kJobs, cells_of(*job));
    if (const auto* stage = std::get_if<StageRow>(&one)) state_->put(Table::kStages, cells_of(*stage));
    if (const auto* lease = std::get_if<LeaseRow>(&one)) state_->put(Table::kLeases, cells_of(*lease));
    if (const auto* row = std::get_if<CheckpointRow>(&one)) state_->put(Table::kCheckpoints, cells_of(*row));
    if (const auto* row = std::get_if<QuarantineRow>(&one)) state_->put(Table::kQuarantine, cells_of(*row));
  }
  if (state_->chain.sequence == state_->accepted_chain.sequence)
    throw Error(ErrorKind::kInternal, "ledger: a transaction without an event");
  for (const Table table : kTables) {
    const auto at = static_cast<std::size_t>(table);
    if (table == Table::kMeta || table == Table::kEvents || state_->sums[at] == state_->accepted_sums[at])
      continue;
    state_->put_meta("table." + std::string(info_of(table).name), sum_text(state_->sums[at]));
  }
  state_->put_meta("events", std::to_string(state_->chain.sequence) + ":" + io::hex(state_->chain.hash));
}

void Writer::put_meta(const std::string& name, const std::string& value) {
  state_->put_meta(name, value);
}

void Writer::accept() {
  state_->accepted_sums = state_->sums;
  state_->accepted_chain = state_->chain;
}

void Writer::discard() {
  state_->sums = state_->accepted_sums;
  state_->chain = state_->accepted_chain;
}

std::uint64_t Writer::last_sequence() const {
  return state_->accepted_chain.sequence;
}

}  // namespace trireme::coordinator::ledger
