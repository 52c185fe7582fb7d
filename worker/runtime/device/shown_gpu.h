// Which GPU of this machine CUDA's n-th is, and what is said of it.
#pragma once

#include <string>

#include "common/io/machine/gpus.h"
#include "worker/runtime/device/device.h"

namespace trireme::worker::runtime {

struct ShownGpu {
  std::string name;   // "NVIDIA H200"; "" where it cannot be known
  std::string words;  // "GPU 0 of 2 that CUDA_VISIBLE_DEVICES ('3,1') leaves: number 3 of this machine, …"
};

// CUDA numbers `count` GPUs here. Known is the physical one where the driver lists as many as CUDA shows and
// `order` (CUDA_DEVICE_ORDER) is PCI_BUS_ID; `given` is CUDA_VISIBLE_DEVICES, null when it is not set.
ShownGpu shown_gpu(int number, int count, const io::VisibleGpus& visible, const char* given,
                   const std::string& order);

// What CUDA_VISIBLE_DEVICES has to be for the worker at this place before CUDA starts; "" where it stays as
// it is. A process sees one instance (MIG) of all that are named: the first. Throws as gpu_of() does.
std::string own_instance(const PlaceOnHost& place, const io::VisibleGpus& visible, const char* given);

}  // namespace trireme::worker::runtime
