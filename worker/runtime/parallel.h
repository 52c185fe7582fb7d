// The threads of one task: independent items, any order, bounded by the worker's cores.
#pragma once

#include <cstdint>
#include <functional>

namespace trireme::worker::runtime {

class StopRequest;

// Calls body(i) once for every i in [0, count) on up to `threads` threads and returns when all have ended.
// The first exception is rethrown here, and no new item starts after it; kCancelled when `stop` (may be null)
// is set between items. `progress` (may be empty) is called after each item with the number done, from any
// thread.
void parallel_for(std::int64_t count, int threads, const StopRequest* stop,
                  const std::function<void(std::int64_t item)>& body,
                  const std::function<void(std::int64_t done)>& progress = {});

}  // namespace trireme::worker::runtime
