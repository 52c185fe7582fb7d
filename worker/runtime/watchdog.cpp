#include "worker/runtime/watchdog.h"

namespace trireme::worker::runtime {

Watchdog::Watchdog(const Clock& clock, double seconds_of_silence, std::function<void()> fence)
    : clock_(clock),
      fence_(std::move(fence)),
      last_heard_(clock.now()),
      allowed_seconds_(seconds_of_silence),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  ending_ = true;
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
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace trireme::worker::runtime
