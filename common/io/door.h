// The one door of a job that came over HTTP. While a thread or the process stands behind one, every path that
// common/io is given is resolved by the kernel beneath the job's roots at the moment of use (openat2 with
// RESOLVE_BENEATH), so that neither "..", nor a link, nor a folder swapped after the job was read leads out.
// A link inside a root that points into a root is followed. Whoever is not behind a door goes where it likes.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/io/file_system.h"

namespace trireme::io {

struct Roots {
  std::vector<Path> read, write;  // what may be written may be read; a file stands for itself
  std::vector<Path> never;        // lies in a root and is nobody's business: the coordinator's run folder
};

class Door {
 public:
  // Opens the roots, which are trusted as they are; one that is not there admits nothing. Throws kUnavailable
  // where the kernel has no openat2 (Linux before 5.6). `until`: later calls throw kUnavailable; {}: never.
  explicit Door(const Roots& roots, SteadyTime until = {});
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // The door that this thread stands behind, or null.
  static const Door* of_this_thread();

  // As open(2): a descriptor, or < 0 and errno. Throws kInvalid, naming the path, for one that leads out.
  int open(const Path& path, int flags, unsigned mode) const;

  // The folder of `path`, held open, and its last part: for calls that make, rename or remove a name. "." and
  // ".." are no last part (kInvalid). Errors as open().
  class Held {
   public:
    Held(int folder, std::string name) : folder_(folder), name_(std::move(name)) {}
    ~Held();
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    int folder() const { return folder_; }  // < 0: errno says why
    const char* name() const { return name_.c_str(); }

   private:
    int folder_;
    std::string name_;
  };
  Held parent(const Path& path, bool to_write = true) const;

 private:
  struct Root {
    Path path, real;
    int descriptor = -1;
    bool file = false;
  };
  void add(const Path& path, bool writable);
  int resolve(const Path& path, int flags, unsigned mode, bool to_write) const;
  int beneath(const Path& path, int flags, unsigned mode, bool to_write, bool links) const;
  int checked(int descriptor) const;

  std::vector<Root> read_, write_;
  std::vector<Path> never_;
  SteadyTime until_{};
};

// Scope: this thread, or every thread that has no door of its own, stands behind `door`; null: none, for what
// is the program's own business. Scopes of one thread end in reverse order.
class Behind {
 public:
  enum class Who { kThread, kProcess };
  explicit Behind(const Door* door, Who who = Who::kThread);
  ~Behind();
  Behind(const Behind&) = delete;
  Behind& operator=(const Behind&) = delete;

 private:
  Who who_;
  const Door* before_ = nullptr;
  bool set_before_ = false;
};

}  // namespace trireme::io
