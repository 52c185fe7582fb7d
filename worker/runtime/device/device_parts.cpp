#include "worker/runtime/device/device_parts.h"

#include "common/base/log.h"
#include "common/telemetry/metrics.h"

namespace trireme::worker::runtime {

void tell_what_is_missing(const DeviceChoice& choice, const DeviceParts& parts, telemetry::Metrics& metrics) {
  const auto tell = [&](const std::string& reason, const std::string& text) {
    log_warning("device", text);
    metrics.set("trireme_device_fallback", 1, {{"reason", reason}});
  };
  if (!choice.fallback.empty()) tell(choice.fallback, "the GPU is not used: " + choice.why);
  if (choice.device == "cpu") return;
  if (!parts.no_plugin.empty()) tell("plugin", "no NCCL, gangs talk through the host: " + parts.no_plugin);
  if (!parts.kernels)
    tell("kernels",
         "the contrastive loss has no CUDA kernels here (built without nvcc): torch's own operations compute "
         "it, slower and with the same numbers");
}

}  // namespace trireme::worker::runtime
