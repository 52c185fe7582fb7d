// The actor's mailbox: closures that run on the state thread and write into the Decision of their batch.
// push() is thread-safe; one thread takes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "coordinator/service/decision.h"

namespace trireme::coordinator::service {

using Event = std::function<void(Decision&)>;

class EventQueue {
 public:
  void push(Event event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    ready_.notify_one();
  }

  // Everything that is queued, at the latest after `patience`: what comes while a batch is being committed
  // shares the next transaction.
  std::vector<Event> take(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, patience, [&] { return !events_.empty(); });
    return std::exchange(events_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<Event> events_;
};

}  // namespace trireme::coordinator::service
