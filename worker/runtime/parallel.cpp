#include "worker/runtime/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "common/io/machine/in_hand.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {

void parallel_for(std::int64_t count, int threads, const StopRequest* stop,
                  const std::function<void(std::int64_t)>& body,
                  const std::function<void(std::int64_t)>& progress) {
  std::atomic<std::int64_t> next{0}, done{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      for (std::int64_t item = next++; item < count && !failed; item = next++) {
        if (stop != nullptr) stop->throw_if_stopped();
        {
          const io::SampleScope scope;
          body(item);
        }
        const std::int64_t finished = ++done;
        if (progress) progress(finished);
      }
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
      failed = true;
    }
  };
  {
    std::vector<std::jthread> helpers;
    const auto wanted = std::min<std::int64_t>(count, std::max(1, threads));
    for (std::int64_t i = 1; i < wanted; ++i) helpers.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace trireme::worker::runtime
