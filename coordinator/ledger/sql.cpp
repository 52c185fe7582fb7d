#include "coordinator/ledger/sql.h"

#include <sqlite3.h>

#include "common/base/error.h"
#include "coordinator/ledger/watched_files.h"

namespace trireme::coordinator::ledger {
namespace {

ErrorKind kind_of(int code) {
  switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorKind::kConflict;
    case SQLITE_FULL:
      return ErrorKind::kDiskFull;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorKind::kDamaged;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return ErrorKind::kInvalid;
    default:
      return ErrorKind::kTryAgain;
  }
}

std::string hint_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConflict:
      return "another coordinator holds this ledger; wait for it, stop it, or choose another output";
    case ErrorKind::kDiskFull:
      return "free some disk space; nothing that was acknowledged is lost";
    case ErrorKind::kDamaged:
      return kWaysOut;
    case ErrorKind::kInvalid:
      return "check the permissions of the folder";
    default:
      return "check the disk; a restart replays the ledger";
  }
}

void set_pragma(Database& database, const char* set, const char* read, const std::string& wanted) {
  const std::string answered = database.text_of(set);
  const std::string found = read != nullptr ? database.text_of(read) : answered;
  if (found != wanted)
    throw Error(ErrorKind::kTryAgain,
                "ledger " + database.file().string() + ": '" + set + "' gave '" + found + "' instead of '" +
                    wanted + "'",
                "the ledger needs a local file system");
}

}  // namespace

Database::Database(const io::Path& file) : file_(file) {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(file.c_str(), &handle_, flags, watched_files()) != SQLITE_OK) {
    const std::string why = handle_ != nullptr ? sqlite3_errmsg(handle_) : "out of memory";
    sqlite3_close_v2(handle_);
    throw Error(ErrorKind::kInvalid, "cannot open the ledger " + file.string() + ": " + why,
                hint_of(ErrorKind::kInvalid));
  }
  sqlite3_extended_result_codes(handle_, 1);
}

Database::~Database() {
  sqlite3_close_v2(handle_);
}

void Database::fail(const std::string& doing) const {
  const ErrorKind kind = kind_of(last_error());
  throw Error(kind, "ledger " + file_.string() + ": " + doing + ": " + sqlite3_errmsg(handle_),
              hint_of(kind));
}

int Database::last_error() const {
  return sqlite3_extended_errcode(handle_);
}

void Database::run(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
}

std::string Database::text_of(const char* sql) {
  Statement statement(*this, sql);
  return statement.step() ? std::string(statement.text(0)) : "";
}

Statement::Statement(Database& database, const std::string& sql) : database_(database) {
  if (sqlite3_prepare_v3(database.handle(), sql.c_str(), static_cast<int>(sql.size()) + 1,
                         SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) != SQLITE_OK)
    database.fail("preparing '" + sql + "'");
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

void Statement::bind(int parameter, std::int64_t value) {
  if (sqlite3_bind_int64(statement_, parameter, value) != SQLITE_OK) database_.fail("binding");
}
void Statement::bind(int parameter, double value) {
  if (sqlite3_bind_double(statement_, parameter, value) != SQLITE_OK) database_.fail("binding");
}
void Statement::bind(int parameter, std::string_view value) {
  const char* bytes = value.data() != nullptr ? value.data() : "";
  if (sqlite3_bind_text64(statement_, parameter, bytes, value.size(), SQLITE_STATIC, SQLITE_UTF8) !=
      SQLITE_OK)
    database_.fail("binding");
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) {
    const std::string sql = sqlite3_sql(statement_);
    const ErrorKind kind = kind_of(code);
    const std::string why = sqlite3_errmsg(database_.handle());
    sqlite3_reset(statement_);
    throw Error(kind, "ledger " + database_.file().string() + ": '" + sql + "': " + why, hint_of(kind));
  }
  return false;
}

void Statement::reset() {
  sqlite3_reset(statement_);
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}
double Statement::real(int column) const {
  return sqlite3_column_double(statement_, column);
}
std::string_view Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}
char Statement::type(int column) const {
  switch (sqlite3_column_type(statement_, column)) {
    case SQLITE_INTEGER:
      return 'i';
    case SQLITE_FLOAT:
      return 'r';
    case SQLITE_TEXT:
      return 't';
    case SQLITE_BLOB:
      return 'b';
    default:
      return 'n';
  }
}

void set_up(Database& database) {
  sqlite3_db_config(database.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  set_pragma(database, "PRAGMA locking_mode=EXCLUSIVE", nullptr, "exclusive");
  set_pragma(database, "PRAGMA journal_mode=WAL", nullptr, "wal");
  set_pragma(database, "PRAGMA synchronous=FULL", "PRAGMA synchronous", "2");
  set_pragma(database, "PRAGMA foreign_keys=ON", "PRAGMA foreign_keys", "1");
  set_pragma(database, "PRAGMA wal_autocheckpoint=0", nullptr, "0");
  set_pragma(database, "PRAGMA cache_size=-65536", "PRAGMA cache_size", "-65536");
  database.run("BEGIN IMMEDIATE; ROLLBACK");  // takes the lock now, not at the first write
}

bool has_tables(Database& database) {
  return database.text_of("SELECT count(*) FROM sqlite_master") != "0";
}

}  // namespace trireme::coordinator::ledger
