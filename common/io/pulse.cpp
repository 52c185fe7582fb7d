#include "common/io/pulse.h"

#include <cstdio>
#include <cstdlib>

#include <fcntl.h>

#include "common/base/error.h"
#include "common/io/door.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::io {

Pulse::Pulse(Path file, std::string phase, std::chrono::milliseconds every)
    : file_(std::move(file)), first_(std::move(phase)), phase_(first_.c_str()), every_(every) {
  try {
    make_folders(file_.parent_path());
  } catch (const Error&) {  // then nobody sees it
  }
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!ending_) {
      beat();
      changed_.wait_for(lock, every_, [this] { return ending_; });
    }
  });
}

Pulse::~Pulse() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  const Behind nothing(nullptr);
  remove_file(file_);
}

std::unique_ptr<Pulse> Pulse::of_rank(const std::string& rank, const std::string& phase) {
  const char* logs = std::getenv("TRIREME_LOG_DIR");
  if (logs == nullptr || *logs == 0 || std::getenv("TRIREME_SUPERVISOR_PID") == nullptr) return nullptr;
  return std::make_unique<Pulse>(Path(logs).parent_path() / "pulse" / ("rank-" + rank), phase);
}

void Pulse::beat() {
  const Behind nothing(nullptr);
  const int descriptor = disk().open(file_, O_WRONLY | O_CREAT, 0644);
  if (descriptor < 0) return;
  char text[64];
  const int length = std::snprintf(text, sizeof text, "%020llu %-10s\n", ++number_, phase_.load());
  [[maybe_unused]] const auto written =
      disk().write_at(descriptor, text, static_cast<std::size_t>(length), 0);
  disk().close(descriptor);
}

}  // namespace trireme::io
