#include "coordinator/ledger/watched_files.h"

#include <new>

#include <sqlite3.h>

#include "common/base/error.h"
#include "common/base/fault_point.h"

namespace trireme::coordinator::ledger {
namespace {

// Lies in front of the file object of the layer below.
struct WatchedFile {
  sqlite3_file base;
  bool is_wal;
  sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

WatchedFile* watched(sqlite3_file* file) {
  return reinterpret_cast<WatchedFile*>(file);
}
sqlite3_file* below(sqlite3_file* file) {
  return watched(file)->below();
}

int faulty(const char* point, int otherwise) {
  try {
    fault_point(point);
    return SQLITE_OK;
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kDiskFull ? SQLITE_FULL : otherwise;
  }
}

int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  const int fault = faulty("ledger.write", SQLITE_IOERR_WRITE);
  return fault != SQLITE_OK ? fault : below(file)->pMethods->xWrite(below(file), bytes, size, offset);
}

int sync(sqlite3_file* file, int flags) {
  if (watched(file)->is_wal) fault_point("ledger.wal_written_before_sync");
  const int fault = faulty("ledger.sync", SQLITE_IOERR_FSYNC);
  return fault != SQLITE_OK ? fault : below(file)->pMethods->xSync(below(file), flags);
}

int close(sqlite3_file* file) {
  return below(file)->pMethods->xClose(below(file));
}
int read(sqlite3_file* file, void* bytes, int size, sqlite3_int64 offset) {
  return below(file)->pMethods->xRead(below(file), bytes, size, offset);
}
int truncate(sqlite3_file* file, sqlite3_int64 size) {
  return below(file)->pMethods->xTruncate(below(file), size);
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
  return below(file)->pMethods->xFileSize(below(file), size);
}
int lock(sqlite3_file* file, int level) {
  return below(file)->pMethods->xLock(below(file), level);
}
int unlock(sqlite3_file* file, int level) {
  return below(file)->pMethods->xUnlock(below(file), level);
}
int check_lock(sqlite3_file* file, int* held) {
  return below(file)->pMethods->xCheckReservedLock(below(file), held);
}
int control(sqlite3_file* file, int operation, void* argument) {
  return below(file)->pMethods->xFileControl(below(file), operation, argument);
}
int sector_size(sqlite3_file* file) {
  return below(file)->pMethods->xSectorSize(below(file));
}
int characteristics(sqlite3_file* file) {
  return below(file)->pMethods->xDeviceCharacteristics(below(file));
}

// Version 1: no shared memory (the ledger is exclusive, its WAL index lives in memory) and no memory map.
constexpr sqlite3_io_methods kMethods{1,       close,       read,           write,  truncate,
                                      sync,    file_size,   lock,           unlock, check_lock,
                                      control, sector_size, characteristics};

int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* base = static_cast<sqlite3_vfs*>(vfs->pAppData);
  auto* mine = new (file) WatchedFile{};
  mine->is_wal = (flags & SQLITE_OPEN_WAL) != 0;
  const int code = base->xOpen(base, name, mine->below(), flags, out_flags);
  mine->base.pMethods = mine->below()->pMethods != nullptr ? &kMethods : nullptr;
  return code;
}

sqlite3_vfs make_vfs() {
  sqlite3_vfs* base = sqlite3_vfs_find(nullptr);
  sqlite3_vfs vfs = *base;  // its other calls work on names, not on files
  vfs.pNext = nullptr;
  vfs.zName = "trireme-ledger";
  vfs.pAppData = base;
  vfs.szOsFile = static_cast<int>(sizeof(WatchedFile)) + base->szOsFile;
  vfs.xOpen = open;
  return vfs;
}

}  // namespace

const char* watched_files() {
  static sqlite3_vfs vfs = make_vfs();
  static const int kRegistered = sqlite3_vfs_register(&vfs, 0);
  if (kRegistered != SQLITE_OK) throw Error(ErrorKind::kInternal, "SQLite refuses the ledger's file layer");
  return vfs.zName;
}

}  // namespace trireme::coordinator::ledger
