#include "worker/kernels/sent.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "common/base/error.h"

namespace trireme::worker::kernels {
namespace {
// Of this thread, under way.
int& recordings() {
  thread_local int count = 0;
  return count;
}
}  // namespace

NothingIsSent::NothingIsSent() {
  ++recordings();
}
NothingIsSent::~NothingIsSent() {
  --recordings();
}

at::Tensor sent_to(const at::Tensor& on_host, const at::Device& device) {
  if (device == on_host.device()) return on_host;
  if (recordings() > 0)
    throw Error(ErrorKind::kInternal, "it sends numbers of the host, which a recording would not see change");
  return on_host.contiguous().pin_memory().to(device, /*non_blocking=*/true);
}

Returning::Returning(const at::Tensor& there) {
  if (there.is_cpu()) {
    on_host_ = there;
    return;
  }
  on_host_ = at::empty(there.sizes(), there.options().device(at::kCPU).pinned_memory(true));
  on_host_.copy_(there, /*non_blocking=*/true);
  auto event = std::make_shared<c10::Event>(there.device().type());
  event->record(c10::impl::VirtualGuardImpl(there.device().type()).getStream(there.device()));
  event_ = std::move(event);
}

const at::Tensor& Returning::arrived() {
  if (event_ != nullptr) static_cast<c10::Event*>(event_.get())->synchronize();
  event_ = nullptr;
  return on_host_;
}

}  // namespace trireme::worker::kernels
