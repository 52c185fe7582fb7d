// From the host to a device and back without the host waiting: out of and into pinned memory.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

namespace trireme::worker::kernels {

// `on_host` on `device`, there when the caller's stream comes to it; itself where that is the host.
at::Tensor sent_to(const at::Tensor& on_host, const at::Device& device);

// While this lives, sent_to() to another device throws kInternal in this thread: a graph that is recorded
// would send again out of memory that is somebody else's by then, and nothing would tell.
class NothingIsSent {
 public:
  NothingIsSent();
  ~NothingIsSent();
  NothingIsSent(const NothingIsSent&) = delete;
  NothingIsSent& operator=(const NothingIsSent&) = delete;
};

// Numbers on their way to the host. Of the CPU's there is nothing to wait for.
class Returning {
 public:
  explicit Returning(const at::Tensor& there);
  // Waits for them, and for nothing that was asked of the device after them.
  const at::Tensor& arrived();

 private:
  at::Tensor on_host_;
  std::shared_ptr<void> event_;
};

}  // namespace trireme::worker::kernels
