// A stream of its own for what travels to a GPU, so that the next batches do while a step computes. On the
// CPU there is nothing to it: work is done at once.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

class CopyStream {
 public:
  explicit CopyStream(const std::string& device);

  bool ahead() const { return stream_.has_value(); }
  // Runs `body`; what the calling thread asks of the device meanwhile is on this stream.
  void run(const std::function<void()>& body) const;
  // A point behind all that was asked so far; null on the CPU.
  std::shared_ptr<c10::Event> mark() const;
  // The caller's stream goes on behind the point, and `inputs` are its own from then on.
  void hand_over(const std::shared_ptr<c10::Event>& mark, std::vector<SlotInput>& inputs) const;

 private:
  at::Device device_;
  std::optional<c10::Stream> stream_;
};

}  // namespace trireme::worker::stages::train
