// How a worker says that its device is lost (a CUDA error): it gives its task back with these words and takes
// no other. Its process stays until Leave, because mpirun would end all others with it.
#pragma once

#include <string>
#include <utility>

#include "jobs/protocol/messages.h"

namespace trireme::jobs {

// The one failure of this kind that is not to be tried again: not by this worker.
inline TaskFailed device_lost(LeaseId lease, std::string why) {
  return {lease, ErrorKind::kUnavailable, false, std::move(why)};
}
inline bool is_device_lost(const TaskFailed& failed) {
  return failed.kind == ErrorKind::kUnavailable && !failed.retryable;
}

}  // namespace trireme::jobs
