#include "common/io/file_system.h"

#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme::io {

int FileSystem::open(const Path& path, int flags, unsigned mode) const {
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
  return ::rename(from.c_str(), to.c_str());
}
int FileSystem::link(const Path& from, const Path& to) const {
  return ::link(from.c_str(), to.c_str());
}
int FileSystem::remove(const Path& path) const {
  return ::remove(path.c_str());
}
int FileSystem::make_folder(const Path& path) const {
  return ::mkdir(path.c_str(), 0777);
}
int FileSystem::status(const Path& path, struct stat& found) const {
  return ::stat(path.c_str(), &found);
}
void FileSystem::pause(std::chrono::milliseconds time) const {
  std::this_thread::sleep_for(time);
}

const FileSystem& disk() {
  static const FileSystem real;
  return real;
}

}  // namespace trireme::io
