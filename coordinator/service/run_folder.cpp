#include "coordinator/service/run_folder.h"

#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"

namespace trireme::coordinator::service {

RunFolder::RunFolder(const io::Path& folder, std::uint64_t given_incarnation) : paths_{folder} {
  io::make_folders(folder);
  incarnation_.value = given_incarnation;
  if (given_incarnation != 0) return;
  lock_ = std::make_unique<io::FileLock>(paths_.lock());
  incarnation_.value = store::raise_incarnation(paths_);
}

void RunFolder::write_terminal(store::Terminal terminal) const {
  terminal.incarnation = incarnation_.value;
  store::write_terminal(paths_, terminal);
}

void RunFolder::remove_terminal() const {
  io::remove_file(paths_.terminal());  // the end of an incarnation before; its log has it
}

void RunFolder::write_progress(const std::string& job_document, std::uint64_t sequence,
                               std::int64_t progress) const {
  store::write_progress(paths_, {incarnation_.value, sequence, ::getpid(), progress, job_document},
                        utc_now());
}

void RunFolder::write_targets(const std::string& document) const {
  try {
    io::write_file_atomic(paths_.path / "targets.json", document + "\n", false);
  } catch (const Error& error) {
    log_warning("service", error.what());
  }
}

}  // namespace trireme::coordinator::service
