// The folder of a run (jobs/protocol/FORMAT.md): lock and incarnation, and the small files by which the
// supervisor and the command line follow it (coordinator/api/API.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/ids.h"
#include "common/io/file.h"

namespace trireme::coordinator::service {

struct Terminal {
  std::string state;  // "SUCCEEDED", "FAILED", "CANCELLED", "STOPPED", "RESTART"
  std::string reason;
  bool retryable = false;
  int exit_code = 0;
  std::int64_t progress = 0, step = 0;
};

class RunFolder {
 public:
  // Under a supervisor, `given_incarnation` (from $TRIREME_INCARNATION) is taken as it is. Without one (0)
  // the lock is taken here and the stored number raised durably. Throws kConflict naming the holder, kInvalid
  // when the folder cannot be written.
  RunFolder(const io::Path& folder, std::uint64_t given_incarnation);

  const io::Path& path() const { return path_; }
  Incarnation incarnation() const { return incarnation_; }

  void write_terminal(const Terminal& terminal) const;
  void remove_terminal() const;  // of the incarnation before
  // `job_document` may be "null". Not durable.
  void write_progress(const std::string& job_document, std::uint64_t sequence, std::int64_t progress) const;

 private:
  io::Path path_;
  std::unique_ptr<io::FileLock> lock_;
  Incarnation incarnation_;
};

}  // namespace trireme::coordinator::service
