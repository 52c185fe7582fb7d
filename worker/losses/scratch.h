// One tile of logits for each thread, used again from meeting to meeting.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/kernels/pair_tile/pair_tile.h"

namespace trireme::worker::losses {

class Scratch {
 public:
  at::Tensor take(std::int64_t rows, std::int64_t columns, const at::TensorOptions& options) {
    {
      const std::lock_guard lock(mutex_);
      for (auto& buffer : free_)
        if (buffer.size(0) == rows && buffer.size(1) == columns) {
          std::swap(buffer, free_.back());
          at::Tensor found = std::move(free_.back());
          free_.pop_back();
          return found;
        }
    }
    return kernels::tile_buffer(rows, columns, options);
  }
  void give(at::Tensor buffer) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(buffer));
  }

 private:
  std::mutex mutex_;
  std::vector<at::Tensor> free_;
};

}  // namespace trireme::worker::losses
