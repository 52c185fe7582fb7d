// Autocast on the recorded device as CUDA has it: the same operations in bfloat16, in float32 and in the
// widest type of their arguments (torch's own lists, ATen/autocast_mode.h). Those of the CPU are others.
#pragma once

#include <ATen/Operators.h>
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "tests/worker/support/recorded_device.h"

namespace trireme::worker::recorded {

#define TRIREME_LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define TRIREME_FLOAT32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define TRIREME_FLOAT32_DTYPE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define TRIREME_WIDEST(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
inline bool register_autocast() {
  using namespace at;  // what the lists' signatures say
  using namespace at::autocast;
  const auto key = c10::DispatchKey::AutocastPrivateUse1;
  static torch::Library others(torch::Library::IMPL, "_", key, __FILE__, __LINE__);
  static torch::Library m(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
  others.fallback(torch::CppFunction::makeFallthrough());
  AT_FORALL_LOWER_PRECISION_FP(TRIREME_LOWER)
  AT_FORALL_FP32(TRIREME_FLOAT32)
  AT_FORALL_FP32_SET_OPT_DTYPE(TRIREME_FLOAT32_DTYPE)
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(KERNEL_DIFFERENT_REDISPATCH_SIGNATURE_PRIVATEUSEONE)
  AT_FORALL_PROMOTE(TRIREME_WIDEST)
  m.impl(TORCH_SELECTIVE_NAME("aten::cat"),
         &WrapFunction<CastPolicy::promote, at::kPrivateUse1,
                       at::Tensor(const at::ITensorListRef&, std::int64_t),
                       at::Tensor(const at::ITensorListRef&, std::int64_t), &at::cat>::type::call);
  return true;
}
#undef TRIREME_LOWER
#undef TRIREME_FLOAT32
#undef TRIREME_FLOAT32_DTYPE
#undef TRIREME_WIDEST
inline const bool autocast_registered = register_autocast();

}  // namespace trireme::worker::recorded
