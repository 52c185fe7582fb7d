#include "coordinator/ledger/reserve.h"

#include <cerrno>

#include <fcntl.h>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::coordinator::ledger {

bool take_reserve(const io::Path& path, std::uint64_t bytes, const io::FileSystem& files) {
  const int descriptor = files.open(path, O_RDWR | O_CREAT, 0600);
  if (descriptor < 0) {
    if (errno == ENOSPC || errno == EDQUOT) return false;
    throw system_error("cannot open " + path.string(), errno);
  }
  const int failed = files.reserve(descriptor, bytes);
  files.close(descriptor);
  if (failed == 0) return true;
  io::remove_file(path);
  if (failed == ENOSPC || failed == EDQUOT || failed == EFBIG) return false;
  throw system_error("cannot set " + path.string() + " aside", failed);
}

// Holds nothing.
void give_reserve(const io::Path& path) {
  io::remove_file(path);
}

}  // namespace trireme::coordinator::ledger
