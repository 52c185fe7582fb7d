#include "common/io/door.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

struct OfThread {
  const Door* door = nullptr;
  bool set = false;
};
OfThread& of_thread() {
  static thread_local OfThread mine;
  return mine;
}
std::atomic<const Door*>& of_process() {
  static std::atomic<const Door*> door{nullptr};
  return door;
}

int open_beneath(int root, const Path& path, int flags, unsigned mode, bool links) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | (links ? RESOLVE_NO_MAGICLINKS : RESOLVE_NO_SYMLINKS);
  for (int tries = 0;; ++tries) {  // EAGAIN: something was renamed meanwhile
    const auto got = static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
    if (got >= 0 || errno != EAGAIN || tries == 64) return got;
  }
}

// The part of `path` below `root`, "." for the root itself.
std::optional<Path> below(const Path& path, const Path& root) {
  auto part = path.begin();
  for (const auto& wanted : root) {
    if (wanted.empty()) continue;  // a trailing slash
    if (part == path.end() || *part != wanted) return std::nullopt;
    ++part;
  }
  Path rest;
  for (; part != path.end(); ++part) rest /= *part;
  return rest.empty() ? Path(".") : rest;
}

bool writes(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
}

Error leads_out(const Path& path, bool to_write) {
  return Error(ErrorKind::kInvalid,
               path.string() + " leads outside the folders that jobs sent over HTTP may " +
                   (to_write ? "write" : "read"),
               std::string("use a place under them, or start the coordinator with ") +
                   (to_write ? "--output-root" : "--data-root"));
}

}  // namespace

Door::Door(const Roots& roots, SteadyTime until) : until_(until) {
  for (const auto& path : roots.write) add(path, true);
  for (const auto& path : roots.read) add(path, false);
  for (const auto& path : roots.never) never_.push_back(real_path(path).value_or(path));
}

void Door::add(const Path& path, bool writable) {
  Root root{io::absolute(path).lexically_normal(), real_path(path).value_or(path), -1, false};
  struct stat found {};
  root.file = ::stat(root.real.c_str(), &found) == 0 && !S_ISDIR(found.st_mode);
  const Path folder = root.file ? root.real.parent_path() : root.real;
  root.descriptor = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root.descriptor < 0) return;
  const int tried = open_beneath(root.descriptor, ".", O_PATH, 0, true);
  if (tried < 0 && errno == ENOSYS) {
    ::close(root.descriptor);
    throw Error(ErrorKind::kUnavailable, "this kernel has no openat2, which keeps jobs within their folders",
                "use Linux 5.6 or newer");
  }
  ::close(tried);
  (writable ? write_ : read_).push_back(root);
  if (writable) {
    root.descriptor = ::fcntl(root.descriptor, F_DUPFD_CLOEXEC, 3);
    read_.push_back(std::move(root));
  }
}

Door::~Door() {
  for (const auto* roots : {&read_, &write_})
    for (const Root& root : *roots) ::close(root.descriptor);
}

const Door* Door::of_this_thread() {
  return of_thread().set ? of_thread().door : of_process().load();
}

int Door::checked(int descriptor) const {
  if (descriptor < 0 || never_.empty()) return descriptor;
  std::string name(PATH_MAX, '\0');
  const auto got =
      ::readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), name.data(), name.size());
  name.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  for (const Path& never : never_)
    if (got <= 0 || below(name, never)) {
      ::close(descriptor);
      errno = EXDEV;
      return -1;
    }
  return descriptor;
}

int Door::beneath(const Path& path, int flags, unsigned mode, bool to_write, bool links) const {
  for (const Root& root : to_write ? write_ : read_) {
    std::optional<Path> rest = below(path, root.path);
    if (!rest) rest = below(path, root.real);
    if (!rest || (root.file && *rest != ".")) continue;
    const int got =
        open_beneath(root.descriptor, root.file ? root.real.filename() : *rest, flags, mode, links);
    if (got >= 0 || (errno != EXDEV && errno != ELOOP)) return checked(got);
  }
  errno = EXDEV;
  return -1;
}

int Door::resolve(const Path& path, int flags, unsigned mode, bool to_write) const {
  if (until_ != SteadyTime{} && std::chrono::steady_clock::now() > until_)
    throw Error(ErrorKind::kUnavailable, "this takes longer than a request may",
                "plan it on the host itself: trireme plan job.json");
  const Path given = io::absolute(path).lexically_normal();
  const int direct = beneath(given, flags, mode, to_write, true);
  if (direct >= 0 || errno != EXDEV) return direct;
  const auto real = real_path(given);  // a link that points into a root by its whole name
  if (!real) errno = EXDEV;
  return real ? beneath(*real, flags, mode, to_write, false) : -1;
}

int Door::open(const Path& path, int flags, unsigned mode) const {
  const bool to_write = writes(flags);
  if (!to_write) {
    const int got = resolve(path, flags, mode, false);
    if (got < 0 && errno == EXDEV) throw leads_out(path, false);
    return got;
  }
  const Held folder = parent(path);  // first, so that nothing is made where nothing may be
  if (folder.folder() < 0) return -1;
  const int got = open_beneath(folder.folder(), folder.name(), flags | O_NOFOLLOW, mode, false);
  if (got < 0 && (errno == ELOOP || errno == EXDEV)) throw leads_out(path, true);
  return got;
}

Door::Held Door::parent(const Path& path, bool to_write) const {
  const Path given = io::absolute(path).lexically_normal();
  const Path whole = given.has_filename() ? given : given.parent_path();
  const std::string name = whole.filename().string();
  if (name.empty() || name == "." || name == "..") throw leads_out(path, to_write);
  const int folder = resolve(whole.parent_path(), O_PATH | O_DIRECTORY, 0, to_write);
  if (folder < 0 && errno == EXDEV) throw leads_out(path, to_write);
  return {folder, name};
}

Door::Held::~Held() {
  if (folder_ < 0) return;
  const int kept = errno;
  ::close(folder_);
  errno = kept;
}

Behind::Behind(const Door* door, Who who) : who_(who) {
  if (who_ == Who::kProcess) {
    before_ = of_process().exchange(door);
  } else {
    before_ = std::exchange(of_thread().door, door);
    set_before_ = std::exchange(of_thread().set, true);
  }
}

Behind::~Behind() {
  if (who_ == Who::kProcess) {
    of_process() = before_;
  } else {
    of_thread() = {before_, set_before_};
  }
}

}  // namespace trireme::io
