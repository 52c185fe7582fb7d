#include "worker/data/batches/torch_threads.h"

#include <ATen/Parallel.h>

#include <latch>
#include <memory>

#include "worker/kernels/threads.h"

namespace trireme::worker::data {

std::vector<std::thread> start_torch_threads(int count, const std::function<void()>& body) {
  const int before = at::get_num_threads();
  const auto ready = std::make_shared<std::latch>(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([ready, body] {
      kernels::set_torch_threads(1);
      ready->count_down();
      body();
    });
  }
  ready->wait();
  kernels::set_torch_threads(before);
  return threads;
}

}  // namespace trireme::worker::data
