// What this host calls itself: gethostname(2), at most 255 bytes.
#pragma once

#include <string>

#include <unistd.h>

namespace trireme {

inline std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace trireme
