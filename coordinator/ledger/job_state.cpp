#include "coordinator/ledger/rows.h"

namespace trireme::coordinator::ledger {

using enum JobState;

bool is_terminal(JobState state) {
  return state == kSucceeded || state == kFailed || state == kCancelled;
}

bool may_move(JobState from, JobState to) {
  if (is_terminal(from)) return false;
  if (is_terminal(to)) return from == kStopping;
  if (to == kStopping) return from != kStopping;
  switch (from) {
    case kQueued:
      return to == kStarting;
    case kStarting:
      return to == kRunning || to == kRecovering;
    case kRunning:
      return to == kPaused || to == kRecovering;
    case kPaused:
      return to == kRunning || to == kRecovering;
    case kRecovering:
      return to == kStarting;
    default:
      return false;
  }
}

}  // namespace trireme::coordinator::ledger
