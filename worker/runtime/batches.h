// A pass over samples: batch after batch on the threads of a task, each thread with one intra-op thread of
// torch, so that what a batch gives does not depend on how many cores there are.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

#include "common/io/machine/in_hand.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {

using Samples = std::vector<std::int64_t>;

// body(i, samples of batch i) once for each batch of at most `size` samples, as parallel_for() does, with
// progress counted in samples. Torch's thread count of the caller is put back.
void for_each_batch(const Samples& samples, std::int64_t size, TaskContext& context,
                    const std::function<void(std::size_t batch, const Samples& samples)>& body);

// What make(samples) gives for each batch, in order. Of a shard that is suspected (io::one_by_one) each
// sample is tried alone before; what that gives is thrown away, so that the batches' bits stay.
template <class Make>
auto by_batches(const Samples& samples, std::int64_t size, TaskContext& context, const Make& make) {
  using Made = std::invoke_result_t<Make, const Samples&>;
  std::vector<Made> made((samples.size() + static_cast<std::size_t>(size) - 1) /
                         static_cast<std::size_t>(size));
  for_each_batch(samples, size, context, [&](std::size_t batch, const Samples& some) {
    if (io::one_by_one())
      for (const auto sample : some) make(Samples{sample});
    made[batch] = make(some);
  });
  return made;
}

}  // namespace trireme::worker::runtime
