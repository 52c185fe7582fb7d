// From the host to a device and back without the host waiting: out of and into pinned memory.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

namespace trireme::worker::kernels {

// `on_host` on `device`, there when the caller's stream comes to it; itself where that is the host.
at::Tensor sent_to(const at::Tensor& on_host, const at::Device& device);

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
