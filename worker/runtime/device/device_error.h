// Whose fault an error is that torch, CUDA or NCCL has met, by its words: they are all that comes through
// (torch's exceptions, the group's errors, a plug-in's C interface).
#pragma once

#include <string>

namespace trireme::worker::runtime {

enum class Culprit {
  kNobody,   // not a word of CUDA or NCCL
  kMemory,   // there was too little: the same may go through
  kPeer,     // another rank or the network: the gang rolls back, this device is as good as before
  kProgram,  // the same would fail on every device
  kDevice,   // this GPU, or this process's hold on it: the job goes on without
};

struct DeviceError {
  Culprit culprit = Culprit::kNobody;
  // Whether this process can compute nothing more on its GPU, whoever's fault that is: a failed assertion in
  // a kernel is the program's, and the context is lost with it.
  bool gone = false;
};

// `text`: "CUDA error: an illegal memory access was encountered …", "NCCL: unhandled cuda error (…): Cuda
// failure 2 'out of memory'", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", whatever stands before it. Words
// of cudaGetErrorString of CUDA 13.0 and ncclGetErrorString of NCCL 2.28; what CUDA says and is not known to
// mean the device is the program's.
DeviceError device_error(const std::string& text);

}  // namespace trireme::worker::runtime
