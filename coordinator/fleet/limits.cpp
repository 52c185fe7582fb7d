#include "coordinator/fleet/limits.h"

#include <string>

#include "common/base/error.h"

namespace trireme::coordinator::fleet {
namespace {

std::chrono::nanoseconds duration(double seconds) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

void require(bool holds, const char* less, double less_value, const char* more, double more_value) {
  if (holds) return;
  throw Error(ErrorKind::kInvalid,
              std::string("spec.timeouts: ") + less + " (" + std::to_string(less_value) + ") and " + more +
                  " (" + std::to_string(more_value) + ") are in the wrong order",
              "it must hold that heartbeat < suspect < dead <= fence < lease");
}

}  // namespace

Limits limits_of(const jobs::TimeoutSpec& spec) {
  require(spec.heartbeat_seconds < spec.suspect_seconds, "heartbeat_seconds", spec.heartbeat_seconds,
          "suspect_seconds", spec.suspect_seconds);
  require(spec.suspect_seconds < spec.dead_seconds, "suspect_seconds", spec.suspect_seconds, "dead_seconds",
          spec.dead_seconds);
  require(spec.dead_seconds <= spec.fence_seconds, "dead_seconds", spec.dead_seconds, "fence_seconds",
          spec.fence_seconds);
  require(spec.fence_seconds < spec.lease_seconds, "fence_seconds", spec.fence_seconds, "lease_seconds",
          spec.lease_seconds);
  return {
      duration(spec.heartbeat_seconds), duration(spec.suspect_seconds),         duration(spec.dead_seconds),
      duration(spec.fence_seconds),     duration(spec.first_heartbeat_seconds), duration(spec.lease_seconds),
      duration(spec.step_seconds)};
}

}  // namespace trireme::coordinator::fleet
