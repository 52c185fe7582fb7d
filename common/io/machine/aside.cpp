#include "common/io/machine/aside.h"

#include <atomic>
#include <random>
#include <sstream>

#include <unistd.h>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::io {

Path aside_of(const Path& path) {
  static std::atomic<unsigned> counter{0};
  static const std::string self = [] {
    std::random_device random;
    std::ostringstream text;
    text << ".tmp-" << ::getpid() << '-' << std::hex << random() << '-';
    return text.str();
  }();
  return path.string() + self + std::to_string(counter++);
}

Aside::~Aside() {
  try {
    remove_tree(path_);
  } catch (const Error&) {  // a leftover costs space, no result
  }
}

}  // namespace trireme::io
