#include "worker/runtime/batches.h"

#include <algorithm>

#include "worker/kernels/threads.h"
#include "worker/runtime/parallel.h"

namespace trireme::worker::runtime {

void for_each_batch(const Samples& samples, std::int64_t size, TaskContext& context,
                    const std::function<void(std::size_t, const Samples&)>& body) {
  const auto total = static_cast<std::int64_t>(samples.size());
  parallel_for(
      (total + size - 1) / size, context.threads, context.stop,
      [&](std::int64_t batch) {
        const kernels::OneTorchThread one;
        const auto first = samples.begin() + batch * size;
        body(static_cast<std::size_t>(batch), {first, samples.begin() + std::min(total, (batch + 1) * size)});
      },
      [&](std::int64_t done) {
        if (context.progress) context.progress(std::min(total, done * size), total);
      });
}

}  // namespace trireme::worker::runtime
