#include "worker/stages/train/step/slot_pool.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <utility>

#include "common/base/error.h"
#include "worker/kernels/threads.h"

namespace trireme::worker::stages::train {

SlotPool::SlotPool(int threads, int intra_op_threads, std::function<bool()> stopped)
    : stopped_(std::move(stopped)), caller_threads_(at::get_num_threads()) {
  // What the caller computes itself must not depend on cores either.
  kernels::set_torch_threads(intra_op_threads);
  for (int i = 1; i < threads; ++i)  // the caller is the first
    threads_.emplace_back([this, intra_op_threads] { work(intra_op_threads); });
}

SlotPool::~SlotPool() {
  {
    const std::lock_guard lock(mutex_);
    leave_ = true;
    changed_.notify_all();
  }
  for (auto& thread : threads_) thread.join();
  kernels::set_torch_threads(caller_threads_);
}

void SlotPool::for_each(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  std::unique_lock lock(mutex_);
  body_ = &body;
  count_ = n;
  next_ = 0;
  if (!threads_.empty() && n > 1) changed_.notify_all();
  take_items(lock);
  changed_.wait(lock, [&] { return running_ == 0; });
  body_ = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void SlotPool::work(int intra_op_threads) {
  kernels::set_torch_threads(intra_op_threads);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return leave_ || (body_ != nullptr && next_ < count_); });
    if (leave_) return;
    take_items(lock);
    if (running_ == 0) changed_.notify_all();
  }
}

void SlotPool::take_items(std::unique_lock<std::mutex>& lock) {
  while (next_ < count_) {
    const auto item = next_++;
    ++running_;
    const auto* body = body_;
    lock.unlock();
    std::exception_ptr error;
    try {
      if (stopped_ && stopped_()) throw Error(ErrorKind::kCancelled, "training was cancelled");
      (*body)(item);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --running_;
    if (!error) continue;
    if (!error_) error_ = error;
    next_ = count_;
  }
}

}  // namespace trireme::worker::stages::train
