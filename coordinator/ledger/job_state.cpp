#include <array>
#include <utility>

#include "common/base/error.h"
#include "coordinator/ledger/rows.h"

namespace trireme::coordinator::ledger {
namespace {
using enum JobState;
constexpr std::array<std::pair<JobState, std::string_view>, 9> kNames{{{kQueued, "QUEUED"},
                                                                       {kStarting, "STARTING"},
                                                                       {kRunning, "RUNNING"},
                                                                       {kPaused, "PAUSED"},
                                                                       {kRecovering, "RECOVERING"},
                                                                       {kStopping, "STOPPING"},
                                                                       {kSucceeded, "SUCCEEDED"},
                                                                       {kFailed, "FAILED"},
                                                                       {kCancelled, "CANCELLED"}}};
}  // namespace

std::string_view name_of(JobState state) {
  return kNames[static_cast<std::size_t>(state)].second;
}

JobState job_state_from_name(std::string_view name) {
  for (const auto& [state, known] : kNames)
    if (known == name) return state;
  throw Error(ErrorKind::kDamaged, "unknown job state '" + std::string(name) + "'");
}

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
