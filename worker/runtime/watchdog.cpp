#include "worker/runtime/watchdog.h"

#include <algorithm>

namespace trireme::worker::runtime {

Watchdog::Watchdog(const Clock& clock, double seconds_of_silence, std::function<void()> fence)
    : clock_(clock),
      fence_(std::move(fence)),
      last_heard_(clock.now()),
      allowed_seconds_(seconds_of_silence),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::heard() {
  last_heard_ = clock_.now();
}

void Watchdog::allow(double seconds_of_silence) {
  allowed_seconds_ = seconds_of_silence;
}

void Watchdog::watch() {
  SteadyTime looked = clock_.now();
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const SteadyTime now = clock_.now();
    // A process that was stopped itself (SIGSTOP) must fence too, so its own absence is not forgiven; but the
    // mail that waited is read first: one look more.
    const bool was_away = seconds(now - looked) > 1;
    looked = now;
    if (!was_away && seconds(now - last_heard_.load()) > allowed_seconds_) {
      fence_();
      return;
    }
    const double left = allowed_seconds_ - seconds(now - last_heard_.load());
    changed_.wait_for(lock, std::chrono::duration<double>(std::clamp(left, 0.01, 0.2)),
                      [this] { return ending_; });
  }
}

}  // namespace trireme::worker::runtime
