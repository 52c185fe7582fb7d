#include "worker/models/autocast.h"

#include <ATen/autocast_mode.h>

namespace trireme::worker::models {
namespace {

at::DeviceType type_of(bool cuda) {
  return cuda ? at::kCUDA : at::kCPU;
}

}  // namespace

Autocast::Autocast(const std::string& device, bool bf16) : on_(bf16), cuda_(device.starts_with("cuda")) {
  if (!on_) return;
  was_on_ = at::autocast::is_autocast_enabled(type_of(cuda_));
  at::autocast::increment_nesting();
  at::autocast::set_autocast_enabled(type_of(cuda_), true);
  at::autocast::set_autocast_dtype(type_of(cuda_), at::kBFloat16);
}

Autocast::~Autocast() {
  if (!on_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(type_of(cuda_), was_on_);
}

}  // namespace trireme::worker::models
