#include "worker/kernels/threads.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

namespace trireme::worker::kernels {

void over_threads(std::int64_t begin, std::int64_t end,
                  const std::function<void(std::int64_t, std::int64_t)>& work) {
  const std::int64_t pieces = std::min<std::int64_t>(end - begin, at::get_num_threads());
  if (end <= begin) return;
  if (pieces <= 1) return work(begin, end);
  std::exception_ptr failure;
  std::mutex mutex;
  const auto piece = [&](std::int64_t i) {
    try {
      work(begin + (end - begin) * i / pieces, begin + (end - begin) * (i + 1) / pieces);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::int64_t i = 1; i < pieces; ++i) helpers.emplace_back(piece, i);
    piece(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace trireme::worker::kernels
