// Where a worker computes: on a GPU when there is a driver, a torch with CUDA and a device; on the CPU
// otherwise. One binary: libtorch_cuda is opened at run time.
#pragma once

#include <string>

namespace trireme::worker::runtime {

struct DeviceChoice {
  std::string device = "cpu";  // "cpu" or "cuda:<n>"
  std::string name;            // of the GPU, "" for the CPU
  std::string why;             // which case it is, and what to do when a GPU was to be had
};

// The GPU of the worker at `position` on its host (taken in turn when there are fewer GPUs). Call it before
// anything else of torch: the first answer about CUDA stays.
DeviceChoice choose_device(int position_on_host);

// Lines for people (`trireme-worker tool device`, `trireme doctor`).
std::string device_report(const DeviceChoice& choice);

}  // namespace trireme::worker::runtime
