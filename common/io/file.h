// Files behind one seam. Whatever is kept is written aside, synced, renamed, and the folder is synced: after
// a crash a name holds the old bytes or the new ones, never a mixture. All functions throw Error naming the
// path; ENOSPC is kDiskFull.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file_system.h"

namespace trireme::io {

std::string read_file(const Path& path, std::uint64_t limit_bytes = std::uint64_t{4} << 30,
                      const FileSystem& files = disk());

// Atomic replace: writes `<path>.tmp-<pid>-<n>`, fsync, rename, fsync of the folder. Makes missing parents.
// `durable = false` leaves the two fsyncs out (caches that can be recomputed). `mode` as for open(2).
void write_file_atomic(const Path& path, std::string_view bytes, bool durable = true, unsigned mode = 0644,
                       const FileSystem& files = disk());

void sync_file(const Path& path, const FileSystem& files = disk());
void sync_folder(const Path& path, const FileSystem& files = disk());

// rename(2); durably: then fsync of the destination's folder.
void rename_durably(const Path& from, const Path& to, const FileSystem& files = disk());
void rename_file(const Path& from, const Path& to, const FileSystem& files = disk());

void make_folders(const Path& path, const FileSystem& files = disk());

// Bytes free for this user on the file system of `path` (its nearest existing parent).
std::uint64_t free_bytes(const Path& path);

// Sequential writer of one new file; nothing is promised before finish().
class FileWriter {
 public:
  explicit FileWriter(const Path& path, unsigned mode = 0644, const FileSystem& files = disk());
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  void write(std::string_view bytes);
  void finish(bool durable = true);  // flush, fsync, close
  std::uint64_t size() const { return size_; }

 private:
  const FileSystem& files_;
  Path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
  std::string buffer_;
};

// Appends whole lines to a log that people read; each line is one write(2).
class LineAppender {
 public:
  explicit LineAppender(const Path& path);
  ~LineAppender();
  LineAppender(const LineAppender&) = delete;
  LineAppender& operator=(const LineAppender&) = delete;
  void append(std::string_view line_without_newline);

 private:
  Path path_;
  int descriptor_ = -1;
};

// Reads one file in pieces.
class FileReader {
 public:
  explicit FileReader(const Path& path, const FileSystem& files = disk());
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;
  // How much of `to` was filled: less than all only at the end of the file.
  std::size_t read_at(std::uint64_t offset, std::span<char> to) const;  // any thread
  std::size_t read(std::span<char> to);                                 // from where the last one ended

 private:
  const FileSystem& files_;
  Path path_;
  int descriptor_ = -1;
  std::uint64_t at_ = 0;
};

// The lines of a text file, front to back, without their '\n'; a last one may lack it. A file that cannot be
// opened has none.
class LineReader {
 public:
  explicit LineReader(const Path& path, std::uint64_t first_byte = 0);
  bool next(std::string& line);

 private:
  std::unique_ptr<FileReader> file_;
  std::string buffer_;
  std::size_t at_ = 0;      // of the next line in the buffer
  std::uint64_t read_ = 0;  // of the file
};

// Read-only memory map; the bytes live as long as the object. Empty files map to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const Path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::uint8_t> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const Path& path() const { return path_; }

 private:
  Path path_;
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// An exclusive advisory lock on a file (flock); the holder's pid is written into it. Throws kConflict naming
// the holder.
class FileLock {
 public:
  explicit FileLock(const Path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace trireme::io
