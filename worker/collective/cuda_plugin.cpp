#include "worker/collective/cuda_plugin.h"

#include <dlfcn.h>
#include <torch/version.h>

#include <array>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "worker/collective/nccl/nccl_plugin.h"

namespace trireme::worker::collective {

CudaPlugin::CudaPlugin(const std::string& path) : path_(path) {
  if (io::is_folder(path_)) path_.append("/").append(kCudaPluginName);
  if (!io::exists(path_))
    throw Error(ErrorKind::kNotFound, "the CUDA plug-in " + path_ + " is not there",
                "`./quickstart build` on a machine with a GPU makes it");
  library_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr)
    throw Error(ErrorKind::kUnavailable, "the CUDA plug-in cannot be opened: " + std::string(dlerror()));
  const std::string torch = reinterpret_cast<PluginTorchFunction>(symbol(kPluginTorchSymbol))();
  if (torch != TORCH_VERSION)
    throw Error(ErrorKind::kUnavailable,
                "the CUDA plug-in " + path_ + " was built with torch " + torch + ", this program with " +
                    TORCH_VERSION,
                "build both in one build folder");
}

std::string CudaPlugin::nccl_unique_id() const {
  const auto make = reinterpret_cast<NcclUniqueIdFunction>(symbol(kNcclUniqueIdSymbol));
  std::array<char, kNcclIdBytes> id{};
  std::array<char, 512> error{};
  if (make(id.data(), error.data(), error.size()) != 0) throw Error(ErrorKind::kUnavailable, error.data());
  return {id.data(), id.size()};
}

std::unique_ptr<StreamCalls> CudaPlugin::nccl_calls(const std::string& id, int rank, int size,
                                                    int device) const {
  if (id.size() != kNcclIdBytes)
    throw Error(ErrorKind::kInternal, "an NCCL id has 128 bytes, not " + std::to_string(id.size()));
  const auto make = reinterpret_cast<NcclCallsFunction>(symbol(kNcclCallsSymbol));
  std::array<char, 512> error{};
  std::unique_ptr<StreamCalls> calls(make(id.data(), rank, size, device, error.data(), error.size()));
  if (calls == nullptr) throw Error(ErrorKind::kTryAgain, error.data());
  return calls;
}

void* CudaPlugin::symbol(const char* name) const {
  void* found = dlsym(library_, name);
  if (found == nullptr)
    throw Error(ErrorKind::kUnavailable, path_ + " has no " + name, "build it with this version of Trireme");
  return found;
}

}  // namespace trireme::worker::collective
