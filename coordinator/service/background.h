// One helper thread for what would make the state thread wait: reading and hashing files, writing outputs.
// Work runs in order; what it finds comes back as an event. Work left at the end is finished first.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace trireme::coordinator::service {

class Background {
 public:
  Background();
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  void run(std::function<void()> work);  // must not throw

 private:
  void loop();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> work_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace trireme::coordinator::service
