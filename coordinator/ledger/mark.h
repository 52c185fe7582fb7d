// The high-water mark: the last acknowledged event, kept outside SQLite, which forgets a damaged tail of its
// log without a word (RELIABILITY 2.3, 8.4). Two alternating slots of 16 bytes: u64 sequence, u64 xxh3 of
// (sequence, run key), little-endian. Keyed by the run, so that another run's mark does not pass. It can lag
// behind the ledger, never run ahead of it.
#pragma once

#include <cstdint>
#include <optional>

#include "common/io/file.h"

namespace trireme::coordinator::ledger {

class Mark {
 public:
  // The highest sequence of the slots that verify; nothing when none does. Throws kNotFound without a file.
  static std::optional<std::uint64_t> read(const io::Path& path, std::uint64_t run_key);

  // True when no slot holds a sequence over 0, whoever wrote it: nothing was ever acknowledged.
  static bool blank(const io::Path& path);

  // Opens (makes) the file for writing; `last` fills both slots durably.
  Mark(const io::Path& path, std::uint64_t run_key, std::uint64_t last,
       const io::FileSystem& files = io::disk());
  ~Mark();
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;

  void advance(std::uint64_t sequence);  // one pwrite, no fsync
  void sync();

 private:
  void put(unsigned slot, std::uint64_t sequence);
  const io::FileSystem& files_;
  io::Path path_;
  std::uint64_t run_key_;
  unsigned slot_ = 0;
  int descriptor_ = -1;
};

}  // namespace trireme::coordinator::ledger
