#include "worker/kernels/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

namespace trireme::worker::kernels {
namespace {

std::mutex set_threads_mutex;  // at::set_num_threads() also writes process-wide state

// piece(0) here, the others on threads of their own; the first exception when all have ended.
void at_once(std::int64_t pieces, const std::function<void(std::int64_t)>& piece) {
  std::exception_ptr failure;
  std::mutex mutex;
  const auto guarded = [&](std::int64_t i) {
    try {
      piece(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::int64_t i = 1; i < pieces; ++i) helpers.emplace_back(guarded, i);
    guarded(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void over_threads(std::int64_t begin, std::int64_t end,
                  const std::function<void(std::int64_t, std::int64_t)>& work) {
  const std::int64_t pieces = std::min<std::int64_t>(end - begin, at::get_num_threads());
  if (end <= begin) return;
  if (pieces <= 1) return work(begin, end);
  at_once(pieces, [&](std::int64_t i) {
    work(begin + (end - begin) * i / pieces, begin + (end - begin) * (i + 1) / pieces);
  });
}

void set_torch_threads(int count) {
  const std::lock_guard lock(set_threads_mutex);
  at::set_num_threads(count);
}

OneTorchThread::OneTorchThread() : before_(at::get_num_threads()) {
  if (before_ != 1) set_torch_threads(1);
}
OneTorchThread::~OneTorchThread() {
  if (before_ != 1) set_torch_threads(before_);
}

void over_blocks(std::int64_t count, std::int64_t size, int threads,
                 const std::function<void(std::int64_t, std::int64_t)>& work) {
  const std::int64_t blocks = (count + size - 1) / size;
  std::atomic<std::int64_t> next = 0;
  const auto some = [&](std::int64_t) {
    for (std::int64_t block = next++; block < blocks; block = next++)
      work(block * size, std::min(size, count - block * size));
  };
  const OneTorchThread here;
  if (blocks <= 1 || threads <= 1) return some(0);
  at_once(std::min<std::int64_t>(blocks, threads), [&](std::int64_t i) {
    if (i == 0) return some(0);
    const OneTorchThread there;
    some(i);
  });
}

}  // namespace trireme::worker::kernels
