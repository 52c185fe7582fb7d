// Where something is written before it takes its place.
#pragma once

#include "common/io/file_system.h"

namespace trireme::io {

// "<path>.tmp-<pid>-<random>-<n>": no other process, on this host or on one that shares the storage, and no
// other call gets the name.
Path aside_of(const Path& path);

// Such a name; what lies there, a file or a folder, goes with this object: nothing after a rename.
class Aside {
 public:
  explicit Aside(const Path& place) : path_(aside_of(place)) {}
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
};

}  // namespace trireme::io
