#include "coordinator/ledger/ledger.h"

#include <algorithm>
#include <cerrno>
#include <random>

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/ledger/mark.h"
#include "coordinator/ledger/recovery/backup.h"
#include "coordinator/ledger/reserve.h"
#include "coordinator/ledger/start_check.h"
#include "coordinator/ledger/writer.h"

namespace trireme::coordinator::ledger {
namespace {

std::int64_t milliseconds(SystemTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

std::string new_run_id() {
  std::random_device device;
  std::uint64_t bits = (static_cast<std::uint64_t>(device()) << 32) | device();
  return "run-" + io::hex(bits);
}

void private_folder(const io::Path& folder) {
  io::make_folders(folder);
  io::set_mode(folder, 0700);
}

// SQLite gives its log the mode of the main file.
void make_private(const io::Path& file) {
  const int descriptor = io::disk().open(file, O_RDWR | O_CREAT, 0600);
  if (descriptor < 0) throw system_error("cannot open " + file.string(), errno);
  io::disk().close(descriptor);
  io::set_mode(file, 0600);
}

int remember_frames(void* frames, sqlite3*, const char*, int count) {
  *static_cast<int*>(frames) = count;
  return SQLITE_OK;
}

}  // namespace

struct Ledger::State {
  LedgerOptions options;
  const Clock* clock = nullptr;
  std::unique_ptr<Database> database;
  std::unique_ptr<Writer> writer;
  std::unique_ptr<Mark> mark;
  std::string run_id;
  std::int64_t version = kSchemaVersion;  // of what was opened
  int wal_frames = 0;
  bool dead = false, reserved = false;
  double start_seconds = 0;

  io::Path path(const char* name) const { return options.folder / name; }

  void create() {
    run_id = new_run_id();
    mark = std::make_unique<Mark>(path("mark"), io::xxh3_64(run_id), 0);
    database->run("BEGIN IMMEDIATE");
    for (const std::string& sql : schema_sql(kSchemaVersion)) database->run(sql.c_str());
    CheckedLedger blank;
    blank.last_hash = chain_start(run_id);
    Writer first(*database, blank);
    first.put_meta("schema_version", std::to_string(kSchemaVersion));
    first.put_meta("run_id", run_id);
    first.put_meta("incarnation", "0");
    first.put_meta("events", "0:" + io::hex(blank.last_hash));
    for (const Table table : kTables)
      if (table != Table::kMeta && table != Table::kEvents)
        first.put_meta("table." + std::string(info_of(table).name), sum_text({}));
    database->run("COMMIT");
    io::sync_folder(options.folder);
  }

  CheckedLedger check() {
    try {
      return check_ledger(*database, path("mark"));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kTryAgain) throw;
      throw Error(ErrorKind::kDamaged, std::string("the ledger cannot be read: ") + error.what());
    }
  }

  // Losing the ledger must not look like a first start.
  void require_no_traces() const {
    if (!options.traces.empty())
      throw Error(ErrorKind::kDamaged,
                  "there is no ledger in " + options.folder.string() + ", but its run left " + options.traces,
                  kWaysOut);
  }

  void open() {
    const io::Path file = path("state.db");
    if (!io::exists(file) && !io::exists(path("mark"))) require_no_traces();
    make_private(file);
    try {
      database = std::make_unique<Database>(file);
      set_up(*database);
    } catch (const Error& error) {
      // Before the first page is read there is no damage to tell from a wrong file.
      if (error.kind() == ErrorKind::kTryAgain)
        throw Error(ErrorKind::kDamaged, std::string("the ledger cannot be opened: ") + error.what());
      throw;
    }
    if (!has_tables(*database)) {
      if (io::exists(path("mark")) && !Mark::blank(path("mark")))
        throw Error(ErrorKind::kDamaged,
                    "ledger " + file.string() + " is empty although its high-water mark " +
                        path("mark").string() +
                        " says that events were acknowledged: state.db or state.db-wal was deleted or cut",
                    kWaysOut);
      require_no_traces();
      create();
    }
    const CheckedLedger checked = check();
    run_id = checked.meta.at("run_id");
    writer = std::make_unique<Writer>(*database, checked);
    version = std::strtoll(checked.meta.at("schema_version").c_str(), nullptr, 10);
    const std::uint64_t stored = std::strtoull(checked.meta.at("incarnation").c_str(), nullptr, 10);
    if (options.incarnation.value <= stored)
      throw Error(
          ErrorKind::kConflict,
          "incarnation " + std::to_string(options.incarnation.value) + " of " + run_id +
              " comes too late: the ledger has seen " + std::to_string(stored),
          "another coordinator has taken over, and only the newest one goes on; or the run folder's file "
          "`incarnation` was lost: write " +
              std::to_string(stored) + " into it");
    mark = std::make_unique<Mark>(path("mark"), io::xxh3_64(run_id), checked.last_sequence);
    sqlite3_wal_hook(database->handle(), remember_frames, &wal_frames);
  }

  void transact(const Batch& batch, const std::string& new_incarnation) {
    database->run("BEGIN IMMEDIATE");
    try {
      if (!new_incarnation.empty()) writer->put_meta("incarnation", new_incarnation);
      if (version < kSchemaVersion) upgrade();
      writer->write(batch, options.incarnation.value, milliseconds(clock->wall()));
      fault_point("ledger.before_commit");
      database->run("COMMIT");
    } catch (const Error&) {
      writer->discard();
      if (sqlite3_get_autocommit(database->handle()) == 0) database->run("ROLLBACK");
      throw;
    }
    writer->accept();
    version = kSchemaVersion;
  }

  // Inside the transaction of the opening: one that is killed in it has changed nothing.
  void upgrade() {
    for (const std::string& sql : upgrade_sql(version)) database->run(sql.c_str());
    fault_point("ledger.mid_upgrade");
    writer->put_meta("schema_version", std::to_string(kSchemaVersion));
  }
};

Ledger::Ledger(LedgerOptions options, const Clock& clock) : state_(std::make_unique<State>()) {
  const auto begin = std::chrono::steady_clock::now();
  state_->options = std::move(options);
  state_->clock = &clock;
  private_folder(state_->options.folder);
  state_->open();
  state_->reserved = restore_reserve();
  if (!state_->reserved)
    throw Error(ErrorKind::kDiskFull,
                "no room for the " + std::to_string(state_->options.reserve_bytes >> 20) +
                    " MiB that the ledger sets aside in " + state_->options.folder.string(),
                "free some disk space, then start again");
  const std::string incarnation = std::to_string(state_->options.incarnation.value);
  if (state_->version < kSchemaVersion && !state_->options.run_folder.empty()) {
    const io::Path copy = snapshot_place(state_->options.run_folder);
    snapshot(copy);
    keep_backup(copy, state_->options.run_folder);
  }
  nlohmann::json opened{{"run_id", state_->run_id}};
  if (state_->version < kSchemaVersion) opened["upgraded_from"] = state_->version;
  state_->transact({Event{"RunOpened", "", opened.dump()}}, incarnation);
  state_->mark->advance(last_sequence());
  state_->mark->sync();
  state_->start_seconds = seconds(std::chrono::steady_clock::now() - begin);
}

Ledger::~Ledger() = default;

void Ledger::commit(const Batch& batch) {
  State& state = *state_;
  if (state.dead)
    throw Error(ErrorKind::kTryAgain, "the ledger failed before; this process has to leave and be restarted");
  try {
    state.transact(batch, "");
    fault_point("ledger.after_commit_before_mark");
    state.mark->advance(last_sequence());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDiskFull) state.dead = true;
    throw;
  }
  fault_point("ledger.after_commit_before_act");
  if (static_cast<std::uint64_t>(state.wal_frames) * 4096 > state.options.merge_bytes) merge_wal();
}

void Ledger::merge_wal() {
  fault_point("ledger.during_wal_merge");
  int frames = 0, merged = 0;
  const int code = sqlite3_wal_checkpoint_v2(state_->database->handle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                             &frames, &merged);
  state_->wal_frames = 0;
  if (code == SQLITE_OK) return;
  // A full disk leaves the log as it is: the next merge tries again.
  if ((code & 0xFF) == SQLITE_FULL) return;
  state_->dead = true;
  state_->database->fail("merging the log");
}

void Ledger::snapshot(const io::Path& file) {
  io::remove_file(file);  // of a snapshot that was not finished
  make_private(file);
  sqlite3* copy = nullptr;
  int code = sqlite3_open_v2(file.c_str(), &copy, SQLITE_OPEN_READWRITE, nullptr);
  if (code == SQLITE_OK) code = sqlite3_exec(copy, "PRAGMA synchronous=OFF", nullptr, nullptr, nullptr);
  if (sqlite3_backup* backup = code == SQLITE_OK
                                   ? sqlite3_backup_init(copy, "main", state_->database->handle(), "main")
                                   : nullptr) {
    sqlite3_backup_step(backup, -1);
    code = sqlite3_backup_finish(backup);
  }
  const std::string why = code == SQLITE_OK ? "" : sqlite3_errmsg(copy);
  sqlite3_close_v2(copy);
  if (code == SQLITE_OK) return;
  throw Error((code & 0xFF) == SQLITE_FULL ? ErrorKind::kDiskFull : ErrorKind::kTryAgain,
              "the ledger cannot be copied to " + file.string() + ": " + why);
}

std::uint64_t Ledger::first_incarnation() {
  return std::strtoull(
      state_->database->text_of("SELECT incarnation FROM events ORDER BY sequence LIMIT 1").c_str(), nullptr,
      10);
}

std::uint64_t Ledger::last_sequence() const {
  return state_->writer->last_sequence();
}

void Ledger::require_at_least(std::uint64_t sequence, const std::string& said_by) const {
  if (last_sequence() >= sequence) return;
  throw Error(ErrorKind::kDamaged,
              "ledger " + state_->database->file().string() + " ends at sequence " +
                  std::to_string(last_sequence()) + ", but " + said_by + " was written at sequence " +
                  std::to_string(sequence) + ": the events between are lost",
              kWaysOut);
}

void Ledger::sync_mark() {
  state_->mark->sync();
}

const std::string& Ledger::run_id() const {
  return state_->run_id;
}
Incarnation Ledger::incarnation() const {
  return state_->options.incarnation;
}

std::vector<JobRow> Ledger::jobs() {
  std::vector<JobRow> rows;
  Statement statement(*state_->database, select_sql(Table::kJobs));
  while (statement.step()) rows.push_back(job_from(statement));
  return rows;
}

std::vector<StageRow> Ledger::stages(const std::string& job) {
  std::vector<StageRow> rows;
  Statement statement(*state_->database, select_sql(Table::kStages));
  while (statement.step())
    if (statement.text(0) == job) rows.push_back(stage_from(statement));
  return rows;
}

std::vector<CheckpointRow> Ledger::checkpoints() {
  std::vector<CheckpointRow> rows;
  Statement statement(*state_->database, select_sql(Table::kCheckpoints));
  while (statement.step()) rows.push_back(checkpoint_from(statement));
  return rows;
}

std::vector<QuarantineRow> Ledger::quarantine() {
  std::vector<QuarantineRow> rows;
  Statement statement(*state_->database, select_sql(Table::kQuarantine));
  while (statement.step()) rows.push_back(quarantine_from(statement));
  return rows;
}

// Jobs run one after the other: all of a job's leases lie between its first and its last, in the order in
// which they are wanted. Through the index they would be sorted first.
void Ledger::for_each_lease(const std::string& job, const std::function<void(const LeaseRow&)>& visit) {
  Statement ends(*state_->database,
                 "SELECT coalesce(min(lease), 0), coalesce(max(lease), -1) FROM leases WHERE job = ?");
  ends.bind(1, std::string_view(job));
  ends.step();
  Statement statement(*state_->database, select_sql(Table::kLeases, "+job = ? AND lease BETWEEN ? AND ?"));
  statement.bind(1, std::string_view(job));
  statement.bind(2, ends.integer(0));
  statement.bind(3, ends.integer(1));
  while (statement.step()) visit(lease_from(statement));
}

void Ledger::for_each_lease(const std::string& job, std::int64_t stage,
                            const std::function<void(const LeaseRow&)>& visit) {
  Statement statement(*state_->database, select_sql(Table::kLeases, "job = ? AND stage = ?"));
  statement.bind(1, std::string_view(job));
  statement.bind(2, stage);
  while (statement.step()) visit(lease_from(statement));
}

std::set<std::string> Ledger::unanswered_addresses() {
  std::set<std::string> addresses;
  Statement statement(*state_->database,
                      "SELECT DISTINCT address FROM leases WHERE state IN ('granted', 'lost')");
  while (statement.step()) addresses.emplace(statement.text(0));
  return addresses;
}

LeaseId Ledger::last_lease() {
  Statement statement(*state_->database, "SELECT coalesce(max(lease), 0) FROM leases");
  statement.step();
  return LeaseId{static_cast<std::uint64_t>(statement.integer(0))};
}

std::vector<EventRow> Ledger::events(const std::string& job, std::uint64_t after, std::int64_t limit) {
  std::vector<EventRow> rows;
  const std::string columns = "SELECT sequence, incarnation, time_ms, kind, job, payload FROM events WHERE ";
  const std::string end = "sequence > ?2 ORDER BY sequence LIMIT ?3";
  const std::string of_job = columns + "job = ?1 AND " + end, of_all = columns + "job = '' AND " + end;
  // Two walks over the index, each as long as the limit: what lies between a job's events costs nothing.
  Statement statement(*state_->database, job.empty()
                                             ? columns + end
                                             : "SELECT * FROM (" + of_job + ") UNION ALL SELECT * FROM (" +
                                                   of_all + ") ORDER BY sequence LIMIT ?3");
  if (!job.empty()) statement.bind(1, std::string_view(job));
  statement.bind(2, static_cast<std::int64_t>(after));
  statement.bind(3, limit);
  while (statement.step()) rows.push_back(event_from(statement));
  return rows;
}

void Ledger::release_reserve() {
  give_reserve(state_->path("reserve"));
  state_->reserved = false;
}

bool Ledger::restore_reserve() {
  if (!state_->reserved)
    state_->reserved = take_reserve(state_->path("reserve"), state_->options.reserve_bytes);
  return state_->reserved;
}

std::uint64_t Ledger::file_bytes(const std::string& file) const {
  const io::Path path = state_->path(file == "wal" ? "state.db-wal" : "state.db");
  return io::exists(path) ? io::size_of(path) : 0;
}

double Ledger::start_seconds() const {
  return state_->start_seconds;
}

}  // namespace trireme::coordinator::ledger
