#include "coordinator/ledger/tables.h"

#include <cstring>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "common/io/little_endian.h"

namespace trireme::coordinator::ledger {
namespace {

constexpr const char* kLeasesOfStage = "CREATE INDEX leases_of_stage ON leases (job, stage)";
constexpr const char* kEventsOfJob = "CREATE INDEX events_of_job ON events (job)";  // and sequence, the rowid

std::int64_t as_signed(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
std::uint64_t as_unsigned(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

template <class Number>
void append_raw(std::string& bytes, char tag, Number value) {
  bytes += tag;
  io::put(bytes, value);
}

template <NamedEnum State>
State state_from(std::string_view name) {
  if (const auto found = from_name<State>(name)) return *found;
  throw Error(ErrorKind::kDamaged, "the ledger knows no state '" + std::string(name) + "'");
}

std::string column_names(const TableInfo& info) {
  std::string names;
  for (const auto column : info.columns) names += std::string(column.substr(0, column.find(' '))) + ", ";
  return names + "hash";
}

}  // namespace

const TableInfo& info_of(Table table) {
  static const std::array<TableInfo, 7> kInfo{
      {{"meta", {"name TEXT", "value TEXT"}, 1},
       {"jobs",
        {"job TEXT", "state TEXT", "cause TEXT", "idempotency_key TEXT", "body_hash INTEGER", "spec TEXT",
         "attempt INTEGER", "without_progress INTEGER", "active_seconds REAL", "submitted_ms INTEGER",
         "started_ms INTEGER", "ended_ms INTEGER"},
        1},
       {"stages", {"job TEXT", "position INTEGER", "stage TEXT", "kind TEXT", "state TEXT", "plan TEXT"}, 2},
       {"leases",
        {"lease INTEGER", "job TEXT", "stage INTEGER", "task TEXT", "address TEXT", "workers TEXT",
         "incarnation INTEGER", "state TEXT", "why TEXT", "result TEXT", "granted_ms INTEGER",
         "ended_ms INTEGER"},
        1},
       {"checkpoints",
        {"folder TEXT", "job TEXT", "stage TEXT", "address TEXT", "step INTEGER", "epoch INTEGER",
         "manifest_xxh3 INTEGER", "bytes INTEGER", "incarnation INTEGER", "state TEXT", "best INTEGER",
         "metric REAL"},
        1},
       {"quarantine", {"item TEXT", "job TEXT", "reason TEXT", "evidence TEXT"}, 1},
       {"events",
        {"sequence INTEGER", "incarnation INTEGER", "time_ms INTEGER", "kind TEXT", "job TEXT",
         "payload TEXT"},
        1}}};
  return kInfo[static_cast<std::size_t>(table)];
}

std::string create_sql(Table table) {
  const auto& info = info_of(table);
  std::string sql = "CREATE TABLE " + std::string(info.name) + " (";
  for (const auto column : info.columns) sql += std::string(column) + " NOT NULL, ";
  sql += "hash INTEGER NOT NULL, PRIMARY KEY (";
  for (int i = 0; i < info.key_columns; ++i) {
    const auto column = info.columns[static_cast<std::size_t>(i)];
    sql += std::string(i != 0 ? ", " : "") + std::string(column.substr(0, column.find(' ')));
  }
  return sql + "))";
}

std::vector<std::string> schema_sql(std::int64_t version) {
  std::vector<std::string> statements;
  for (const Table table : kTables) statements.push_back(create_sql(table));
  if (version >= 2) statements.emplace_back(kLeasesOfStage);
  if (version >= 3) statements.emplace_back(kEventsOfJob);
  return statements;
}

std::vector<std::string> upgrade_sql(std::int64_t from) {
  std::vector<std::string> statements;
  if (from < 2) statements.emplace_back(kLeasesOfStage);
  if (from < 3) statements.emplace_back(kEventsOfJob);
  return statements;
}

std::string select_sql(Table table, std::string_view where) {
  const auto& info = info_of(table);
  std::string order;
  for (int i = 0; i < info.key_columns; ++i) {
    const auto column = info.columns[static_cast<std::size_t>(i)];
    order += std::string(i != 0 ? ", " : "") + std::string(column.substr(0, column.find(' ')));
  }
  return "SELECT " + column_names(info) + " FROM " + std::string(info.name) +
         (where.empty() ? "" : " WHERE " + std::string(where)) + " ORDER BY " + order;
}

std::uint64_t hash_of(Table table, const Cells& cells, std::uint64_t previous) {
  thread_local std::string bytes;
  bytes.assign(info_of(table).name);
  append_raw(bytes, 'p', previous);
  for (const auto& cell : cells) {
    if (const auto* integer = std::get_if<std::int64_t>(&cell)) append_raw(bytes, 'i', *integer);
    if (const auto* real = std::get_if<double>(&cell)) append_raw(bytes, 'r', *real);
    if (const auto* text = std::get_if<std::string_view>(&cell)) {
      append_raw(bytes, 't', text->size());
      bytes += *text;
    }
  }
  return io::xxh3_64(bytes);
}

void read_cells(const Statement& row, int columns, Cells& cells) {
  cells.clear();
  for (int i = 0; i < columns; ++i) {
    const char type = row.type(i);
    if (type == 'i')
      cells.emplace_back(row.integer(i));
    else if (type == 'r')
      cells.emplace_back(row.real(i));
    else
      cells.emplace_back(type == 't' ? row.text(i) : std::string_view("\0neither number nor text", 24));
  }
}

std::string key_text(Table table, const Cells& cells) {
  std::string text;
  for (int i = 0; i < info_of(table).key_columns; ++i) {
    const auto& cell = cells[static_cast<std::size_t>(i)];
    text += i != 0 ? "/" : "";
    if (const auto* integer = std::get_if<std::int64_t>(&cell)) text += std::to_string(*integer);
    if (const auto* real = std::get_if<double>(&cell)) text += std::to_string(*real);
    if (const auto* words = std::get_if<std::string_view>(&cell)) text += *words;
  }
  return text;
}

Cells cells_of(const JobRow& row) {
  return {row.job,
          name_of(row.state),
          row.cause,
          row.idempotency_key,
          as_signed(row.body_hash),
          row.spec,
          row.attempt,
          row.without_progress,
          row.active_seconds,
          row.submitted_ms,
          row.started_ms,
          row.ended_ms};
}
Cells cells_of(const StageRow& row) {
  return {row.job, row.position, row.stage, row.kind, name_of(row.state), row.plan};
}
Cells cells_of(const LeaseRow& row) {
  return {as_signed(row.lease.value),
          row.job,
          row.stage,
          row.task,
          row.address,
          row.workers,
          as_signed(row.incarnation),
          name_of(row.state),
          row.why,
          row.result,
          row.granted_ms,
          row.ended_ms};
}
Cells cells_of(const CheckpointRow& row) {
  return {row.folder,
          row.job,
          row.stage,
          row.address,
          row.step,
          row.epoch,
          as_signed(row.manifest_xxh3),
          as_signed(row.bytes),
          as_signed(row.incarnation),
          name_of(row.state),
          row.best,
          row.metric};
}
Cells cells_of(const QuarantineRow& row) {
  return {row.item, row.job, row.reason, row.evidence};
}
Cells cells_of(const EventRow& row) {
  return {as_signed(row.sequence), as_signed(row.incarnation), row.time_ms, row.event.kind,
          row.event.job,           row.event.payload};
}

JobRow job_from(const Statement& row) {
  JobRow job;
  job.job = row.text(0);
  job.state = state_from<JobState>(row.text(1));
  job.cause = row.text(2);
  job.idempotency_key = row.text(3);
  job.body_hash = as_unsigned(row.integer(4));
  job.spec = row.text(5);
  job.attempt = row.integer(6);
  job.without_progress = row.integer(7);
  job.active_seconds = row.real(8);
  job.submitted_ms = row.integer(9);
  job.started_ms = row.integer(10);
  job.ended_ms = row.integer(11);
  return job;
}
StageRow stage_from(const Statement& row) {
  return {std::string(row.text(0)),
          std::string(row.text(2)),
          row.integer(1),
          std::string(row.text(3)),
          state_from<StageState>(row.text(4)),
          std::string(row.text(5))};
}
LeaseRow lease_from(const Statement& row) {
  LeaseRow lease;
  lease.lease = LeaseId{as_unsigned(row.integer(0))};
  lease.job = row.text(1);
  lease.stage = row.integer(2);
  lease.task = row.text(3);
  lease.address = row.text(4);
  lease.workers = row.text(5);
  lease.incarnation = as_unsigned(row.integer(6));
  lease.state = state_from<LeaseState>(row.text(7));
  lease.why = row.text(8);
  lease.result = row.text(9);
  lease.granted_ms = row.integer(10);
  lease.ended_ms = row.integer(11);
  return lease;
}
CheckpointRow checkpoint_from(const Statement& row) {
  CheckpointRow checkpoint;
  checkpoint.folder = row.text(0);
  checkpoint.job = row.text(1);
  checkpoint.stage = row.text(2);
  checkpoint.address = row.text(3);
  checkpoint.step = row.integer(4);
  checkpoint.epoch = row.integer(5);
  checkpoint.manifest_xxh3 = as_unsigned(row.integer(6));
  checkpoint.bytes = as_unsigned(row.integer(7));
  checkpoint.incarnation = as_unsigned(row.integer(8));
  checkpoint.state = state_from<CheckpointState>(row.text(9));
  checkpoint.best = row.integer(10);
  checkpoint.metric = row.real(11);
  return checkpoint;
}
QuarantineRow quarantine_from(const Statement& row) {
  return {std::string(row.text(0)), std::string(row.text(1)), std::string(row.text(2)),
          std::string(row.text(3))};
}
EventRow event_from(const Statement& row) {
  EventRow event;
  event.sequence = as_unsigned(row.integer(0));
  event.incarnation = as_unsigned(row.integer(1));
  event.time_ms = row.integer(2);
  event.event = {std::string(row.text(3)), std::string(row.text(4)), std::string(row.text(5))};
  return event;
}

}  // namespace trireme::coordinator::ledger
