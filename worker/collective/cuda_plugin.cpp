#include "worker/collective/cuda_plugin.h"

#include <dlfcn.h>

#include <array>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "worker/collective/nccl/nccl_plugin.h"

namespace trireme::worker::collective {

CudaPlugin::CudaPlugin(const std::string& path) : path_(path) {
  if (io::is_folder(path_)) path_.append("/").append(kCudaPluginName);
  if (!io::exists(path_))
    throw Error(ErrorKind::kNotFound, "the CUDA plug-in " + path_ + " is not there",
                "build on a machine with the CUDA toolkit and the full torch wheel");
  library_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr)
    throw Error(ErrorKind::kUnavailable, "the CUDA plug-in cannot be opened: " + std::string(dlerror()));
}

std::string CudaPlugin::nccl_unique_id() const {
  const auto make = reinterpret_cast<NcclUniqueIdFunction>(symbol(kNcclUniqueIdSymbol));
  std::array<char, kNcclIdBytes> id{};
  std::array<char, 512> error{};
  if (make(id.data(), error.data(), error.size()) != 0) throw Error(ErrorKind::kUnavailable, error.data());
  return {id.data(), id.size()};
}

std::unique_ptr<Group> CudaPlugin::nccl_group(const std::string& id, int rank, int size, int device,
                                              const GroupOptions& options) const {
  if (id.size() != kNcclIdBytes)
    throw Error(ErrorKind::kInternal, "an NCCL id has 128 bytes, not " + std::to_string(id.size()));
  const auto make = reinterpret_cast<NcclGroupFunction>(symbol(kNcclGroupSymbol));
  std::array<char, 512> error{};
  std::unique_ptr<Group> group(make(id.data(), rank, size, device, &options, error.data(), error.size()));
  if (group == nullptr) throw Error(ErrorKind::kTryAgain, error.data());
  return group;
}

void* CudaPlugin::find(const char* name) const {
  return dlsym(library_, name);
}

void* CudaPlugin::symbol(const char* name) const {
  void* found = find(name);
  if (found == nullptr)
    throw Error(ErrorKind::kUnavailable, path_ + " has no " + name, "build it with this version of Trireme");
  return found;
}

}  // namespace trireme::worker::collective
