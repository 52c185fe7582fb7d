// Counts bytes and durations of any backend's operations (trireme_collective_*). Bytes are those this rank
// sends; durations are the host's: an operation that is only put on a stream takes no time.
#pragma once

#include <memory>

#include "worker/collective/group.h"

namespace trireme::telemetry {
class Metrics;
}

namespace trireme::worker::collective {

// `metrics` must outlive the group.
std::unique_ptr<Group> make_metered(std::unique_ptr<Group> group, telemetry::Metrics& metrics);

}  // namespace trireme::worker::collective
