// One helper thread for what would make the state thread wait: reading and hashing files, writing outputs.
// Work runs in order; what it finds comes back as an event.
#pragma once

#include <functional>
#include <memory>

namespace boost::asio {
class thread_pool;
}
namespace trireme::io {
class Door;
}

namespace trireme::coordinator::service {

class Background {
 public:
  explicit Background(const io::Door* door = nullptr);  // the work stands behind it; it outlives this
  ~Background();                                        // as finish()
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  void run(std::function<void()> work);  // must not throw
  void finish();                         // waits until all is done; what comes later is dropped

 private:
  const io::Door* door_;
  std::unique_ptr<boost::asio::thread_pool> pool_;
};

}  // namespace trireme::coordinator::service
