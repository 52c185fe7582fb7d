#include "common/io/folder.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/door.h"
#include "common/io/file.h"
#include "common/io/machine/aside.h"

namespace trireme::io {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kLook{50};

bool has_type(const Path& path, mode_t type, const FileSystem& files) {
  struct stat found {};
  return files.status(path, found) == 0 && (found.st_mode & S_IFMT) == type;
}

// A folder as the library's iterators take it: behind a door its open descriptor's name.
class Walked {
 public:
  Walked(const Path& folder, std::error_code& code) : folder_(folder), place_(folder) {
    const Door* door = Door::of_this_thread();
    if (door == nullptr) return;
    descriptor_ = door->open(folder, O_RDONLY | O_DIRECTORY, 0);
    if (descriptor_ < 0) code.assign(errno, std::generic_category());
    place_ = "/proc/self/fd/" + std::to_string(descriptor_);
  }
  ~Walked() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Walked(const Walked&) = delete;
  Walked& operator=(const Walked&) = delete;
  const Path& place() const { return place_; }
  Path named(const Path& found) const {
    return descriptor_ < 0 ? found : folder_ / found.lexically_relative(place_);
  }

 private:
  Path folder_, place_;
  int descriptor_ = -1;
};

std::vector<Path> list(const Path& folder, bool if_there) {
  std::vector<Path> found;
  std::error_code code;
  const Walked walked(folder, code);
  if (!code)
    for (fs::directory_iterator entry(walked.place(), code), end; !code && entry != end;
         entry.increment(code))
      found.push_back(walked.named(entry->path()));
  if (code && !(if_there && code == std::errc::no_such_file_or_directory))
    throw system_error("cannot list the folder " + folder.string(), code.value());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

bool exists(const Path& path, const FileSystem& files) {
  struct stat found {};
  return files.status(path, found) == 0;
}
bool is_file(const Path& path, const FileSystem& files) {
  return has_type(path, S_IFREG, files);
}
bool is_folder(const Path& path, const FileSystem& files) {
  return has_type(path, S_IFDIR, files);
}
bool may_run(const Path& program) {
  return ::access(program.c_str(), X_OK) == 0;
}
bool may_write_into(const Path& folder) {
  return ::access(folder.c_str(), W_OK | X_OK) == 0;
}

bool appears(const Path& path, const FileSystem& files, std::chrono::milliseconds patience) {
  for (auto waited = std::chrono::milliseconds(0); waited < patience; waited += kLook) {
    if (exists(path, files)) return true;
    files.pause(kLook);
  }
  return exists(path, files);
}

FileStatus status_of(const Path& path, const FileSystem& files) {
  struct stat found {};
  if (files.status(path, found) != 0) throw system_error("cannot look at " + path.string(), errno);
  return {static_cast<std::uint64_t>(found.st_size),
          found.st_mtim.tv_sec,
          found.st_mtim.tv_nsec,
          found.st_mode & 07777U,
          found.st_uid == ::geteuid(),
          found.st_dev,
          found.st_ino};
}

std::uint64_t size_of(const Path& path, const FileSystem& files) {
  return status_of(path, files).bytes;
}

void set_mode(const Path& path, unsigned mode) {
  int got = -1;
  if (const Door* door = Door::of_this_thread()) {
    const auto place = door->parent(path);
    if (place.folder() >= 0)  // of a link: what it points to is not touched
      got = ::fchmodat(place.folder(), place.name(), mode, AT_SYMLINK_NOFOLLOW);
  } else {
    got = ::chmod(path.c_str(), mode);
  }
  if (got != 0) throw system_error("cannot protect " + path.string(), errno);
}

std::vector<Path> list_folder(const Path& folder) {
  return list(folder, false);
}
std::vector<Path> list_folder_if_there(const Path& folder) {
  return list(folder, true);
}

std::vector<Path> files_below(const Path& folder) {
  std::vector<Path> found;
  std::error_code code;
  const Walked walked(folder, code);
  if (!code)
    for (fs::recursive_directory_iterator entry(walked.place(), code), end; !code && entry != end;
         entry.increment(code))
      if (entry->is_regular_file(code)) found.push_back(walked.named(entry->path()));
  if (code) throw system_error("cannot list what lies below " + folder.string(), code.value());
  std::sort(found.begin(), found.end());
  return found;
}

bool remove_file(const Path& path, const FileSystem& files) {
  return files.remove(path) == 0;
}

bool remove_tree(const Path& path) {
  std::error_code code;
  const auto removed = [&](const Path& place) {
    const auto count = fs::remove_all(place, code);
    return !code && count > 0;
  };
  const Door* door = Door::of_this_thread();
  if (door == nullptr) return removed(path);
  const auto held = door->parent(path);
  return held.folder() >= 0 && removed("/proc/self/fd/" + std::to_string(held.folder()) + "/" + held.name());
}

void replace_folder(const Path& aside, const Path& place, const FileSystem& files) {
  const Aside old(place);  // no name that another host's call gives to what it moves out of the way
  const bool replaces = io::exists(place, files);
  if (replaces) rename_durably(place, old.path(), files);
  try {
    rename_durably(aside, place, files);
  } catch (const Error&) {
    if (replaces) files.rename(old.path(), place);
    throw;
  }
}

void link_or_copy(const Path& from, const Path& to, const FileSystem& files) {
  files.remove(to);
  if (files.link(from, to) == 0) return;
  const MappedFile bytes(from);
  FileWriter copy(to, status_of(from, files).mode, files);
  copy.write(bytes.text());
  copy.finish();
}

void link_or_copy_tree(const Path& from, const Path& to, const FileSystem& files) {
  make_folders(to, files);
  for (const auto& entry : list_folder(from)) {
    const Path target = to / entry.filename();
    if (is_folder(entry, files))
      link_or_copy_tree(entry, target, files);
    else
      link_or_copy(entry, target, files);
  }
}

Path absolute(const Path& path) {
  return fs::absolute(path);
}
std::optional<Path> real_path(const Path& path) {
  std::error_code code;
  Path real = fs::weakly_canonical(fs::absolute(path), code);
  return code ? std::nullopt : std::optional(std::move(real));
}
bool same_file(const Path& a, const Path& b) {
  std::error_code code;
  return fs::equivalent(a, b, code);
}
Path working_folder() {
  return fs::current_path();
}
Path temporary_folder() {
  return fs::temp_directory_path();
}
Path own_program() {
  std::error_code code;
  return fs::read_symlink("/proc/self/exe", code);
}

}  // namespace trireme::io
