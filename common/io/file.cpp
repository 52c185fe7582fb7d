#include "common/io/file.h"

#include <atomic>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/error.h"

namespace trireme::io {
namespace {

class Descriptor {
 public:
  Descriptor(const Path& path, int flags, unsigned mode = 0)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (value_ < 0) throw system_error("cannot open " + path.string(), errno);
  }
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

void write_all(int descriptor, std::string_view bytes, const Path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw system_error("cannot write " + path.string(), errno);
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void sync_descriptor(int descriptor, const Path& path) {
  if (::fsync(descriptor) != 0) throw system_error("cannot sync " + path.string(), errno);
}

}  // namespace

std::string read_file(const Path& path, std::uint64_t limit_bytes) {
  const Descriptor file(path, O_RDONLY);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw system_error("cannot stat " + path.string(), errno);
  if (S_ISDIR(status.st_mode)) throw Error(ErrorKind::kInvalid, path.string() + " is a folder, not a file");
  if (static_cast<std::uint64_t>(status.st_size) > limit_bytes)
    throw Error(ErrorKind::kInvalid, path.string() + " has " + std::to_string(status.st_size) +
                                         " bytes, more than the " + std::to_string(limit_bytes) + " allowed");
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  for (;;) {
    if (done == bytes.size()) {
      if (S_ISREG(status.st_mode) && status.st_size > 0) break;
      bytes.resize(done + 65536);  // pipes and /proc tell no size
    }
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error("cannot read " + path.string(), errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
    if (done > limit_bytes) throw Error(ErrorKind::kInvalid, path.string() + " is larger than allowed");
  }
  bytes.resize(done);
  return bytes;
}

void write_file_atomic(const Path& path, std::string_view bytes, bool durable, unsigned mode) {
  static std::atomic<unsigned> counter{0};
  if (path.has_parent_path()) make_folders(path.parent_path());
  const Path aside = path.string() + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  try {
    const Descriptor file(aside, O_WRONLY | O_CREAT | O_TRUNC, mode);
    write_all(file.get(), bytes, aside);
    if (durable) sync_descriptor(file.get(), aside);
  } catch (...) {
    ::unlink(aside.c_str());
    throw;
  }
  if (::rename(aside.c_str(), path.c_str()) != 0) {
    const int cause = errno;
    ::unlink(aside.c_str());
    throw system_error("cannot rename " + aside.string() + " to " + path.string(), cause);
  }
  if (durable) sync_folder(path.parent_path());
}

void sync_file(const Path& path) {
  const Descriptor file(path, O_RDONLY);
  sync_descriptor(file.get(), path);
}

void sync_folder(const Path& path) {
  const Path folder = path.empty() ? Path(".") : path;
  const Descriptor descriptor(folder, O_RDONLY | O_DIRECTORY);
  sync_descriptor(descriptor.get(), folder);
}

void rename_durably(const Path& from, const Path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw system_error("cannot rename " + from.string() + " to " + to.string(), errno);
  sync_folder(to.parent_path());
}

void make_folders(const Path& path) {
  if (path.empty()) return;
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) throw system_error("cannot make the folder " + path.string(), code.value());
}

std::uint64_t free_bytes(const Path& path) {
  Path existing = std::filesystem::absolute(path);
  while (!std::filesystem::exists(existing) && existing.has_relative_path())
    existing = existing.parent_path();
  struct statvfs status {};
  if (::statvfs(existing.c_str(), &status) != 0)
    throw system_error("cannot stat the disk of " + path.string(), errno);
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

FileWriter::FileWriter(const Path& path, unsigned mode) : path_(path) {
  if (path.has_parent_path()) make_folders(path.parent_path());
  descriptor_ = Descriptor(path, O_WRONLY | O_CREAT | O_TRUNC, mode).release();
}
FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}
void FileWriter::write(std::string_view bytes) {
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() <= (1U << 20)) {
    buffer_ += bytes;
    return;
  }
  write_all(descriptor_, buffer_, path_);
  buffer_.clear();
  write_all(descriptor_, bytes, path_);
}
void FileWriter::finish(bool durable) {
  write_all(descriptor_, buffer_, path_);
  buffer_.clear();
  if (durable) sync_descriptor(descriptor_, path_);
  if (::close(std::exchange(descriptor_, -1)) != 0)
    throw system_error("cannot close " + path_.string(), errno);
}

LineAppender::LineAppender(const Path& path) : path_(path) {
  if (path.has_parent_path()) make_folders(path.parent_path());
  descriptor_ = Descriptor(path, O_WRONLY | O_CREAT | O_APPEND, 0644).release();
}
LineAppender::~LineAppender() {
  ::close(descriptor_);
}
void LineAppender::append(std::string_view line) {
  write_all(descriptor_, std::string(line) + "\n", path_);
}

MappedFile::MappedFile(const Path& path) : path_(path) {
  const Descriptor file(path, O_RDONLY);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw system_error("cannot stat " + path.string(), errno);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::kInvalid, path.string() + " is not a regular file");
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) throw system_error("cannot map " + path.string(), errno);
  data_ = static_cast<const std::uint8_t*>(mapped);
}
MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::uint8_t*>(data_), size_);
}
MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}
MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

FileLock::FileLock(const Path& path) {
  if (path.has_parent_path()) make_folders(path.parent_path());
  Descriptor file(path, O_RDWR | O_CREAT, 0600);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    std::string holder(32, '\0');
    const ssize_t got = ::pread(file.get(), holder.data(), holder.size(), 0);
    holder.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    throw Error(ErrorKind::kConflict,
                path.string() + " is held by process " + (holder.empty() ? "?" : holder),
                "this output folder is in use; wait for that run, stop it, or choose another output");
  }
  const std::string self = std::to_string(::getpid());
  [[maybe_unused]] const int cut = ::ftruncate(file.get(), 0);
  [[maybe_unused]] const auto written = ::pwrite(file.get(), self.data(), self.size(), 0);
  descriptor_ = file.release();
}
FileLock::~FileLock() {
  ::close(descriptor_);
}

}  // namespace trireme::io
