// The real disk with faults that a test turns on. Header only; any thread.
#pragma once

#include <atomic>
#include <cerrno>
#include <functional>
#include <string>

#include "common/io/file_system.h"

namespace trireme::testing {

class FaultyFiles : public io::FileSystem {
 public:
  // Faults; 0 or "" is none.
  std::size_t most_bytes_a_write = 0;                                     // short writes
  mutable std::atomic<std::int64_t> room = -1;                            // bytes until ENOSPC; < 0: enough
  int sync_fault = 0, rename_fault = 0, link_fault = 0, write_fault = 0;  // errno
  std::string seen_late;  // names that hold this are not there for the first `looks_missed`
  mutable std::atomic<int> looks_missed{0};
  std::function<void()> before_write;  // a slow disk: waits for whatever the test likes
  // What happened.
  mutable std::atomic<int> writes{0}, syncs{0}, pauses{0};

  int open(const io::Path& path, int flags, unsigned mode) const override {
    return hidden(path) ? fail(ENOENT) : FileSystem::open(path, flags, mode);
  }
  int status(const io::Path& path, struct stat& found) const override {
    return hidden(path) ? fail(ENOENT) : FileSystem::status(path, found);
  }
  ssize_t write(int descriptor, const void* from, std::size_t bytes) const override {
    if (!admit(bytes)) return -1;
    return FileSystem::write(descriptor, from, bytes);
  }
  ssize_t write_at(int descriptor, const void* from, std::size_t bytes, std::uint64_t offset) const override {
    if (!admit(bytes)) return -1;
    return FileSystem::write_at(descriptor, from, bytes, offset);
  }
  int reserve(int descriptor, std::uint64_t bytes) const override {
    return room >= 0 && static_cast<std::int64_t>(bytes) > room ? ENOSPC
                                                                : FileSystem::reserve(descriptor, bytes);
  }
  int sync(int descriptor) const override {
    ++syncs;
    return sync_fault != 0 ? fail(sync_fault) : FileSystem::sync(descriptor);
  }
  int rename(const io::Path& from, const io::Path& to) const override {
    return rename_fault != 0 ? fail(rename_fault) : FileSystem::rename(from, to);
  }
  int link(const io::Path& from, const io::Path& to) const override {
    return link_fault != 0 ? fail(link_fault) : FileSystem::link(from, to);
  }
  void pause(std::chrono::milliseconds) const override { ++pauses; }

 private:
  static int fail(int cause) {
    errno = cause;
    return -1;
  }
  bool hidden(const io::Path& path) const {
    return !seen_late.empty() && path.string().find(seen_late) != std::string::npos && looks_missed > 0 &&
           looks_missed-- > 0;
  }
  bool admit(std::size_t& bytes) const {
    ++writes;
    if (before_write) before_write();
    if (write_fault != 0) return fail(write_fault) == 0;
    if (most_bytes_a_write != 0) bytes = std::min(bytes, most_bytes_a_write);
    if (room < 0) return true;
    if (room == 0) return fail(ENOSPC) == 0;
    bytes = std::min(bytes, static_cast<std::size_t>(room.load()));
    room -= static_cast<std::int64_t>(bytes);
    return true;
  }
};

}  // namespace trireme::testing
