// Threads whose torch operators stay on one core, beside a caller that keeps its own thread count.
#pragma once

#include <functional>
#include <thread>
#include <vector>

namespace trireme::worker::data {

// Starts `count` threads that run `body`, each with torch's thread count 1. Returns when all of them are set
// up: torch keeps the count per thread, but the last one set is also the start value of later threads, so the
// caller's count is set again afterwards.
std::vector<std::thread> start_torch_threads(int count, const std::function<void()>& body);

}  // namespace trireme::worker::data
