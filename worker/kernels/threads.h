// Work over as many threads as torch has for one operation. at::parallel_for is compiled where it is used and
// runs on one thread unless that is with OpenMP, which nothing here is.
#pragma once

#include <cstdint>
#include <functional>

namespace trireme::worker::kernels {

// work(first, last) on pieces of [begin, end), each on a thread of its own. The first exception is rethrown
// when all have ended. Not within such a piece.
void over_threads(std::int64_t begin, std::int64_t end,
                  const std::function<void(std::int64_t first, std::int64_t last)>& work);

}  // namespace trireme::worker::kernels
