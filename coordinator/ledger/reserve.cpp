#include "coordinator/ledger/reserve.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"

namespace trireme::coordinator::ledger {

bool take_reserve(const io::Path& path, std::uint64_t bytes) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    if (errno == ENOSPC || errno == EDQUOT) return false;
    throw system_error("cannot open " + path.string(), errno);
  }
  const int failed = ::posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
  ::close(descriptor);
  if (failed == 0) return true;
  ::unlink(path.c_str());
  if (failed == ENOSPC || failed == EDQUOT || failed == EFBIG) return false;
  throw system_error("cannot set " + path.string() + " aside", failed);
}

// Holds nothing.
void give_reserve(const io::Path& path) {
  ::unlink(path.c_str());
}

}  // namespace trireme::coordinator::ledger
