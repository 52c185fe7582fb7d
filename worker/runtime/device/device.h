// Where a worker computes: on a GPU when there is a driver, a torch with CUDA and a device that works; on the
// CPU otherwise, unless it was told which. One binary: libtorch_cuda is opened at run time.
#pragma once

#include <string>

#include "jobs/specification/device_policy.h"

namespace trireme::worker::runtime {

struct DeviceChoice {
  std::string device = "cpu";  // "cpu" or "cuda:<n>"
  std::string name;            // of the GPU, "" for the CPU
  std::string why;             // which case it is, and what to do when a GPU was to be had
  // "" where nothing was to be had; else what stands in the way of the GPU: "torch", "driver", "hidden" or
  // "health" (a label of trireme_device_fallback).
  std::string fallback;
};

// What TRIREME_DEVICE says, else auto. Throws kUsage.
jobs::DevicePolicy device_policy_of_environment();

struct PlaceOnHost {
  int position = 0, workers = 1;
  bool share_gpus = false;  // more workers than GPUs take them in turn; else that is refused
};

// The GPU of the worker at this place: the place counts, among the GPUs that CUDA_VISIBLE_DEVICES leaves, by
// PCI address unless CUDA_DEVICE_ORDER says otherwise (it is set where it is not; so is CUDA_VISIBLE_DEVICES
// to the one instance of this place where MIG instances are named). The GPU is tried (health_fault()). Throws
// kUnavailable where policy cuda finds none, kUsage where there are more workers than GPUs. Call it before
// anything else of torch: the first answer about CUDA stays.
DeviceChoice choose_device(const PlaceOnHost& place, jobs::DevicePolicy policy);

// What is found, tried (health_fault()): a GPU that does not work leaves the CPU, fallback "health". Throws
// kUnavailable where policy cuda is left without one.
DeviceChoice tried(DeviceChoice found, jobs::DevicePolicy policy);

// Which of so many GPUs (at least one) that is: the place, or its rest where they are shared. Throws kUsage,
// with `visible` (CUDA_VISIBLE_DEVICES) where that is set.
int gpu_of(const PlaceOnHost& place, int gpus, const char* visible = nullptr);

// "" where copies to and from the device and a matrix product there come out right, else what does not.
std::string health_fault(const std::string& device);

// Where a task computes on a worker that has this device. Throws kInvalid where it wants a GPU and there is
// none.
std::string device_for_task(jobs::DevicePolicy wanted, const std::string& device, const std::string& why);

// Where the fault point `device.lost` (action error) is due, what torch throws when the GPU is lost.
void device_fault_point();

// "580.65.06" out of /proc/driver/nvidia/version, "" where it does not say.
std::string driver_version(const std::string& text);

// Lines for people (`trireme-worker tool device`, `trireme doctor`).
std::string device_report(const DeviceChoice& choice);

}  // namespace trireme::worker::runtime
