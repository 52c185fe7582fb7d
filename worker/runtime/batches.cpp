#include "worker/runtime/batches.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "worker/runtime/parallel.h"

namespace trireme::worker::runtime {
namespace {

class TorchThreads {
 public:
  TorchThreads() : before_(at::get_num_threads()) {}
  ~TorchThreads() { at::set_num_threads(before_); }
  TorchThreads(const TorchThreads&) = delete;
  TorchThreads& operator=(const TorchThreads&) = delete;

 private:
  int before_;
};

}  // namespace

void for_each_batch(const Samples& samples, std::int64_t size, TaskContext& context,
                    const std::function<void(std::size_t, const Samples&)>& body) {
  const auto total = static_cast<std::int64_t>(samples.size());
  const TorchThreads put_back_after;
  parallel_for(
      (total + size - 1) / size, context.threads, context.stop,
      [&](std::int64_t batch) {
        if (at::get_num_threads() != 1) at::set_num_threads(1);
        const auto first = samples.begin() + batch * size;
        body(static_cast<std::size_t>(batch), {first, samples.begin() + std::min(total, (batch + 1) * size)});
      },
      [&](std::int64_t done) {
        if (context.progress) context.progress(std::min(total, done * size), total);
      });
}

}  // namespace trireme::worker::runtime
