// What a worker's device goes without, said at start.
#pragma once

#include <string>

#include "worker/runtime/device/device.h"

namespace trireme::telemetry {
class Metrics;
}

namespace trireme::worker::runtime {

struct DeviceParts {
  std::string no_plugin;  // why there is no CUDA plug-in beside a GPU; "" where there is
  bool kernels = false;   // whether the contrastive loss has kernels of its own on a GPU
};

// A warning and trireme_device_fallback{reason} each for: a GPU that is not used (the choice's own reason),
// one without the plug-in ("plugin"), one without kernels ("kernels").
void tell_what_is_missing(const DeviceChoice& choice, const DeviceParts& parts, telemetry::Metrics& metrics);

}  // namespace trireme::worker::runtime
