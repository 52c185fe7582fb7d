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

// How many threads torch's operations on this one take, from here on; safe from several threads at once.
void set_torch_threads(int count);

// Torch's operations on this thread take one while it lives: a library's last bits may depend on how many.
class OneTorchThread {
 public:
  OneTorchThread();
  ~OneTorchThread();
  OneTorchThread(const OneTorchThread&) = delete;
  OneTorchThread& operator=(const OneTorchThread&) = delete;
  int before() const { return before_; }

 private:
  int before_;
};

// work(first, length) on blocks of `size` (the last may be shorter) of [0, count), over at most `threads`,
// with one of torch's in each: results that a block writes alone depend on the blocks and not on how many
// threads there are. The first exception is rethrown when all have ended.
void over_blocks(std::int64_t count, std::int64_t size, int threads,
                 const std::function<void(std::int64_t first, std::int64_t length)>& work);

}  // namespace trireme::worker::kernels
