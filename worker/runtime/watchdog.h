// Self-fence: a thread that makes no MPI call. When the coordinator was silent for longer than allowed, it
// ends the process, so that a worker that was given up writes nothing any more (RELIABILITY 8.1).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "common/base/clock.h"

namespace trireme::worker::runtime {

class Watchdog {
 public:
  // `fence` is called once, from the watchdog's thread; the real one is _exit(75): no destructor, no MPI.
  Watchdog(const Clock& clock, double seconds_of_silence, std::function<void()> fence);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void heard();  // the coordinator spoke. Any thread
  void allow(double seconds_of_silence);

 private:
  void watch();

  const Clock& clock_;
  std::function<void()> fence_;
  std::atomic<SteadyTime> last_heard_;
  std::atomic<double> allowed_seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace trireme::worker::runtime
