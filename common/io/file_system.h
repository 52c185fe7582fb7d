// The disk, one function per call that reaches it, so that a test can stand in front of one: a short write,
// ENOSPC, EIO, a slow disk, a rename that is seen late (tests/support/faulty_files.h). Every result is that
// of the system call: < 0 and errno. Stateless; any thread. Whoever writes takes one as its last argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include <sys/types.h>

struct stat;

namespace trireme::io {

using Path = std::filesystem::path;

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual int open(const Path& path, int flags, unsigned mode) const;
  virtual int close(int descriptor) const;
  virtual ssize_t read(int descriptor, void* to, std::size_t bytes) const;
  virtual ssize_t read_at(int descriptor, void* to, std::size_t bytes, std::uint64_t offset) const;
  virtual ssize_t write(int descriptor, const void* from, std::size_t bytes) const;
  virtual ssize_t write_at(int descriptor, const void* from, std::size_t bytes, std::uint64_t offset) const;
  virtual int reserve(int descriptor, std::uint64_t bytes) const;  // posix_fallocate: 0 or the error itself
  virtual int sync(int descriptor) const;
  virtual int rename(const Path& from, const Path& to) const;
  virtual int link(const Path& from, const Path& to) const;
  virtual int remove(const Path& path) const;  // a file or an empty folder
  virtual int make_folder(const Path& path) const;
  virtual int status(const Path& path, struct stat& found) const;  // follows links
  virtual void pause(std::chrono::milliseconds time) const;        // between two looks at what is seen late
};

// The real one.
const FileSystem& disk();

}  // namespace trireme::io
