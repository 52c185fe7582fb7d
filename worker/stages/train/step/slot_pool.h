// The threads on which a rank runs its logical slots. In canonical mode there are as many as the rank has
// cores and each computes with one intra-op thread, so that a slot's bits never depend on how many run side
// by side; in restart mode there is one, with all cores inside each operation. The caller is one of them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace trireme::worker::stages::train {

class SlotPool {
 public:
  // `stopped` is asked before every item; an item that is not begun when it says yes is not run and
  // for_each() throws kCancelled.
  SlotPool(int threads, int intra_op_threads, std::function<bool()> stopped);
  ~SlotPool();
  SlotPool(const SlotPool&) = delete;
  SlotPool& operator=(const SlotPool&) = delete;

  // body(i) for i in [0, n), in order of start; waits for all, then throws the first exception. Called by one
  // thread.
  void for_each(std::int64_t n, const std::function<void(std::int64_t)>& body);

 private:
  void work(int intra_op_threads);
  void take_items(std::unique_lock<std::mutex>& lock);  // until none is left to begin

  std::function<bool()> stopped_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(std::int64_t)>* body_ = nullptr;
  std::int64_t count_ = 0, next_ = 0, running_ = 0;
  std::exception_ptr error_;
  bool leave_ = false;
  int caller_threads_;
  std::vector<std::thread> threads_;
};

}  // namespace trireme::worker::stages::train
