#include "common/io/file.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/machine/aside.h"

namespace trireme::io {
namespace {

class Descriptor {
 public:
  Descriptor(const FileSystem& files, const Path& path, int flags, unsigned mode = 0)
      : files_(files), value_(files.open(path, flags, mode)) {
    if (value_ < 0) throw system_error("cannot open " + path.string(), errno);
  }
  ~Descriptor() {
    if (value_ >= 0) files_.close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  const FileSystem& files_;
  int value_;
};

void write_all(const FileSystem& files, int descriptor, std::string_view bytes, const Path& path) {
  while (!bytes.empty()) {
    const ssize_t written = files.write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw system_error("cannot write " + path.string(), written < 0 ? errno : ENOSPC);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void sync_descriptor(const FileSystem& files, int descriptor, const Path& path) {
  if (files.sync(descriptor) != 0) throw system_error("cannot sync " + path.string(), errno);
}

}  // namespace

std::string read_file(const Path& path, std::uint64_t limit_bytes, const FileSystem& files) {
  const Descriptor file(files, path, O_RDONLY);
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
    const ssize_t got = files.read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error("cannot read " + path.string(), errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
    if (done > limit_bytes) throw Error(ErrorKind::kInvalid, path.string() + " is larger than allowed");
  }
  bytes.resize(done);
  return bytes;
}

void write_file_atomic(const Path& path, std::string_view bytes, bool durable, unsigned mode,
                       const FileSystem& files) {
  if (path.has_parent_path()) make_folders(path.parent_path(), files);
  const Path aside = aside_of(path);
  try {
    {
      const Descriptor file(files, aside, O_WRONLY | O_CREAT | O_TRUNC, mode);
      write_all(files, file.get(), bytes, aside);
      if (durable) sync_descriptor(files, file.get(), aside);
    }
    rename_file(aside, path, files);
  } catch (...) {
    files.remove(aside);
    throw;
  }
  if (durable) sync_folder(path.parent_path(), files);
}

void sync_file(const Path& path, const FileSystem& files) {
  const Descriptor file(files, path, O_RDONLY);
  sync_descriptor(files, file.get(), path);
}

void sync_folder(const Path& path, const FileSystem& files) {
  const Path folder = path.empty() ? Path(".") : path;
  const Descriptor descriptor(files, folder, O_RDONLY | O_DIRECTORY);
  sync_descriptor(files, descriptor.get(), folder);
}

void rename_file(const Path& from, const Path& to, const FileSystem& files) {
  if (files.rename(from, to) != 0)
    throw system_error("cannot rename " + from.string() + " to " + to.string(), errno);
}

void rename_durably(const Path& from, const Path& to, const FileSystem& files) {
  rename_file(from, to, files);
  sync_folder(to.parent_path(), files);
}

void make_folders(const Path& path, const FileSystem& files) {
  struct stat found {};
  if (path.empty() || (files.status(path, found) == 0 && S_ISDIR(found.st_mode))) return;
  if (path.has_parent_path() && path.parent_path() != path) make_folders(path.parent_path(), files);
  if (path.filename().empty() || files.make_folder(path) == 0) return;
  const int cause = errno;
  if (cause == EEXIST && files.status(path, found) == 0 && S_ISDIR(found.st_mode))
    return;  // another was first
  throw system_error("cannot make the folder " + path.string(), cause == EEXIST ? ENOTDIR : cause);
}

std::uint64_t free_bytes(const Path& path) {
  Path existing = std::filesystem::absolute(path);
  std::error_code code;
  while (!std::filesystem::exists(existing, code) && existing.has_relative_path())
    existing = existing.parent_path();
  struct statvfs status {};
  if (::statvfs(existing.c_str(), &status) != 0)
    throw system_error("cannot stat the disk of " + path.string(), errno);
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

FileWriter::FileWriter(const Path& path, unsigned mode, const FileSystem& files)
    : files_(files), path_(path) {
  if (path.has_parent_path()) make_folders(path.parent_path(), files);
  descriptor_ = Descriptor(files, path, O_WRONLY | O_CREAT | O_TRUNC, mode).release();
}
FileWriter::~FileWriter() {
  if (descriptor_ >= 0) files_.close(descriptor_);
}
void FileWriter::write(std::string_view bytes) {
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() <= (1U << 20)) {
    buffer_ += bytes;
    return;
  }
  write_all(files_, descriptor_, buffer_, path_);
  buffer_.clear();
  write_all(files_, descriptor_, bytes, path_);
}
void FileWriter::finish(bool durable) {
  write_all(files_, descriptor_, buffer_, path_);
  buffer_.clear();
  if (durable) sync_descriptor(files_, descriptor_, path_);
  if (files_.close(std::exchange(descriptor_, -1)) != 0)
    throw system_error("cannot close " + path_.string(), errno);
}

LineAppender::LineAppender(const Path& path) : path_(path) {
  if (path.has_parent_path()) make_folders(path.parent_path());
  descriptor_ = Descriptor(disk(), path, O_WRONLY | O_CREAT | O_APPEND, 0644).release();
}
LineAppender::~LineAppender() {
  ::close(descriptor_);
}
void LineAppender::append(std::string_view line) {
  write_all(disk(), descriptor_, std::string(line) + "\n", path_);
}

FileReader::FileReader(const Path& path, const FileSystem& files)
    : files_(files), path_(path), descriptor_(Descriptor(files, path, O_RDONLY).release()) {}
FileReader::~FileReader() {
  files_.close(descriptor_);
}
std::size_t FileReader::read_at(std::uint64_t offset, std::span<char> to) const {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t got = files_.read_at(descriptor_, to.data() + done, to.size() - done, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error("cannot read " + path_.string(), errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}
std::size_t FileReader::read(std::span<char> to) {
  const std::size_t got = read_at(at_, to);
  at_ += got;
  return got;
}

LineReader::LineReader(const Path& path, std::uint64_t first_byte) : read_(first_byte) {
  try {
    file_ = std::make_unique<FileReader>(path);
  } catch (const Error&) {  // has no lines
  }
}
bool LineReader::next(std::string& line) {
  constexpr std::size_t kAtOnce = 64 << 10;
  std::size_t searched = at_;
  for (;;) {
    const std::size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      line.assign(buffer_, at_, end - at_);
      at_ = end + 1;
      return true;
    }
    buffer_.erase(0, at_);
    at_ = 0;
    searched = buffer_.size();
    buffer_.resize(searched + kAtOnce);
    const std::size_t got = file_ ? file_->read_at(read_, std::span(buffer_).subspan(searched)) : 0;
    buffer_.resize(searched + got);
    read_ += got;
    if (got > 0) continue;
    line = std::exchange(buffer_, {});
    return !line.empty();
  }
}

MappedFile::MappedFile(const Path& path) : path_(path) {
  const Descriptor file(disk(), path, O_RDONLY);
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
  Descriptor file(disk(), path, O_RDWR | O_CREAT, 0600);
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
