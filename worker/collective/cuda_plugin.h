// Opens the CUDA plug-in (nccl/nccl_plugin.h) at run time; a machine without a GPU never needs it.
#pragma once

#include <memory>
#include <string>

#include "worker/collective/stream/stream_calls.h"

namespace trireme::worker::collective {

class CudaPlugin {
 public:
  // `path`: the library, or the folder that holds it. Throws kNotFound, or kUnavailable with the loader's
  // reason (a CPU-only torch) or the version of torch it was built with, where that is another. Its kernels
  // register themselves (worker/kernels/device_table.h). Stays loaded until the process ends.
  explicit CudaPlugin(const std::string& path);

  std::string nccl_unique_id() const;  // 128 bytes; throws kUnavailable
  // Collective. Throws kTryAgain or kUnavailable.
  std::unique_ptr<StreamCalls> nccl_calls(const std::string& id, int rank, int size, int device) const;

 private:
  void* symbol(const char* name) const;
  std::string path_;
  void* library_ = nullptr;
};

}  // namespace trireme::worker::collective
