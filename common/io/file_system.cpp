#include "common/io/file_system.h"

#include <cerrno>
#include <cstdio>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/door.h"

namespace trireme::io {

int FileSystem::open(const Path& path, int flags, unsigned mode) const {
  if (const Door* door = Door::of_this_thread()) return door->open(path, flags | O_CLOEXEC, mode);
  return ::open(path.c_str(), flags | O_CLOEXEC, mode);
}
int FileSystem::close(int descriptor) const {
  return ::close(descriptor);
}
ssize_t FileSystem::read(int descriptor, void* to, std::size_t bytes) const {
  return ::read(descriptor, to, bytes);
}
ssize_t FileSystem::read_at(int descriptor, void* to, std::size_t bytes, std::uint64_t offset) const {
  return ::pread(descriptor, to, bytes, static_cast<off_t>(offset));
}
ssize_t FileSystem::write(int descriptor, const void* from, std::size_t bytes) const {
  return ::write(descriptor, from, bytes);
}
ssize_t FileSystem::write_at(int descriptor, const void* from, std::size_t bytes,
                             std::uint64_t offset) const {
  return ::pwrite(descriptor, from, bytes, static_cast<off_t>(offset));
}
int FileSystem::reserve(int descriptor, std::uint64_t bytes) const {
  return ::posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
}
int FileSystem::sync(int descriptor) const {
  return ::fsync(descriptor);
}
int FileSystem::rename(const Path& from, const Path& to) const {
  if (const Door* door = Door::of_this_thread()) {
    const auto source = door->parent(from), place = door->parent(to);
    if (source.folder() < 0 || place.folder() < 0) return -1;
    return ::renameat(source.folder(), source.name(), place.folder(), place.name());
  }
  return ::rename(from.c_str(), to.c_str());
}
int FileSystem::link(const Path& from, const Path& to) const {
  if (const Door* door = Door::of_this_thread()) {
    const auto source = door->parent(from, false), place = door->parent(to);
    if (source.folder() < 0 || place.folder() < 0) return -1;
    return ::linkat(source.folder(), source.name(), place.folder(), place.name(), 0);
  }
  return ::link(from.c_str(), to.c_str());
}
int FileSystem::remove(const Path& path) const {
  if (const Door* door = Door::of_this_thread()) {
    const auto place = door->parent(path);
    if (place.folder() < 0) return -1;
    const int gone = ::unlinkat(place.folder(), place.name(), 0);
    return gone != 0 && errno == EISDIR ? ::unlinkat(place.folder(), place.name(), AT_REMOVEDIR) : gone;
  }
  return ::remove(path.c_str());
}
int FileSystem::make_folder(const Path& path) const {
  if (const Door* door = Door::of_this_thread()) {
    const auto place = door->parent(path);
    return place.folder() < 0 ? -1 : ::mkdirat(place.folder(), place.name(), 0777);
  }
  return ::mkdir(path.c_str(), 0777);
}
int FileSystem::status(const Path& path, struct stat& found) const {
  const Door* door = Door::of_this_thread();
  if (door == nullptr) return ::stat(path.c_str(), &found);
  try {  // what leads out is not there
    const int held = door->open(path, O_PATH | O_CLOEXEC, 0);
    if (held < 0) return -1;
    const int got = ::fstat(held, &found);
    ::close(held);
    return got;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInvalid) throw;
    errno = EACCES;
    return -1;
  }
}
void FileSystem::pause(std::chrono::milliseconds time) const {
  std::this_thread::sleep_for(time);
}

const FileSystem& disk() {
  static const FileSystem real;
  return real;
}

}  // namespace trireme::io
