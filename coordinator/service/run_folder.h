// The folder of a run (jobs/protocol/FORMAT.md): lock and incarnation, and the small files by which the
// supervisor and the command line follow it (coordinator/api/API.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/ids.h"
#include "common/io/file.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::service {

class RunFolder {
 public:
  // Under a supervisor, `given_incarnation` (from $TRIREME_INCARNATION) is taken as it is. Without one (0)
  // the lock is taken here and the stored number raised durably. Throws kConflict naming the holder, kInvalid
  // when the folder cannot be written.
  RunFolder(const io::Path& folder, std::uint64_t given_incarnation);

  const io::Path& path() const { return paths_.path; }
  Incarnation incarnation() const { return incarnation_; }

  void write_terminal(store::Terminal terminal) const;  // of this incarnation
  void remove_terminal() const;                         // of the incarnation before
  // `job_document` may be "null". Not durable.
  void write_progress(const std::string& job_document, std::uint64_t sequence, std::int64_t progress) const;
  // Where the metrics of this run are, for Prometheus' file_sd; the answer of http_sd, "[]" after the end.
  void write_targets(const std::string& document) const;

 private:
  store::RunPaths paths_;
  std::unique_ptr<io::FileLock> lock_;
  Incarnation incarnation_;
};

}  // namespace trireme::coordinator::service
