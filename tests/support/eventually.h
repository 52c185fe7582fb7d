// Waits of tests, each with an end: for a condition that another thread or process makes true. Header only.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace trireme::testing {

// Looks every millisecond; false when `patience` is over.
template <class Condition>
bool eventually(const Condition& holds, std::chrono::milliseconds patience = std::chrono::seconds(30)) {
  std::mutex mutex;
  std::condition_variable changed;
  std::unique_lock lock(mutex);
  for (const auto end = std::chrono::steady_clock::now() + patience; !holds();) {
    if (std::chrono::steady_clock::now() > end) return false;
    changed.wait_for(lock, std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace trireme::testing
