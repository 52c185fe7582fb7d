// SQLite behind two small classes: bound parameters only, every error a trireme::Error that names the file.
// BUSY/LOCKED are kConflict, FULL is kDiskFull, CORRUPT/NOTADB are kDamaged, IOERR and the rest are kTryAgain
// (leave, relaunch, replay: nothing is retried on the same file).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/io/file.h"

struct sqlite3;
struct sqlite3_stmt;

namespace trireme::coordinator::ledger {

class Database {
 public:
  explicit Database(const io::Path& file);  // opens or makes it, mode 0600
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void run(const char* sql);             // constant text only
  std::string text_of(const char* sql);  // first column of the first row, "" without rows
  [[noreturn]] void fail(const std::string& doing) const;
  int last_error() const;  // SQLite's extended result code
  sqlite3* handle() const { return handle_; }
  const io::Path& file() const { return file_; }

 private:
  io::Path file_;
  sqlite3* handle_ = nullptr;
};

// The ledger's settings: exclusive, WAL, synchronous FULL, merges by hand; throws where one does not hold.
void set_up(Database& database);
bool has_tables(Database& database);

// What a damaged or lost ledger leaves to do.
inline constexpr const char* kWaysOut =
    "nothing was changed; 'trireme ledger check RUN' says what is damaged and which backups verify, 'trireme "
    "ledger restore RUN' installs the newest of them, and 'trireme launch --resume-from ckpt/<stage>/step-… "
    "job.json' goes on from a checkpoint without one";

class Statement {
 public:
  Statement(Database& database, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Parameters count from 1; text must live until step() and reset() are through.
  void bind(int parameter, std::int64_t value);
  void bind(int parameter, double value);
  void bind(int parameter, std::string_view value);
  bool step();  // true: a row
  void reset();
  void run() {  // no rows expected
    step();
    reset();
  }

  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;  // until the next step
  char type(int column) const;              // 'i', 'r', 't', 'b', 'n'

 private:
  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace trireme::coordinator::ledger
