#include "worker/collective/nccl/nccl_plugin.h"

#include <nccl.h>
#include <torch/version.h>

#include <cstdio>
#include <cstring>
#include <exception>

#include "worker/collective/nccl/nccl_calls.h"

using namespace trireme::worker::collective;

static_assert(kNcclIdBytes == NCCL_UNIQUE_ID_BYTES);

extern "C" __attribute__((visibility("default"))) int trireme_nccl_unique_id(char id[kNcclIdBytes],
                                                                             char* error,
                                                                             std::size_t error_bytes) {
  ncclUniqueId unique;
  const auto result = ncclGetUniqueId(&unique);
  if (result != ncclSuccess) {
    std::snprintf(error, error_bytes, "ncclGetUniqueId: %s", ncclGetErrorString(result));
    return 1;
  }
  std::memcpy(id, unique.internal, kNcclIdBytes);
  return 0;
}

extern "C" __attribute__((visibility("default"))) const char* trireme_plugin_torch() {
  return TORCH_VERSION;
}

extern "C" __attribute__((visibility("default"))) StreamCalls* trireme_nccl_calls(const char id[kNcclIdBytes],
                                                                                  int rank, int size,
                                                                                  int device, char* error,
                                                                                  std::size_t error_bytes) {
  try {
    int version = 0;
    ncclGetVersion(&version);
    if (version / 100 != NCCL_VERSION_CODE / 100) {
      std::snprintf(error, error_bytes, "built with NCCL %d, loaded %d", NCCL_VERSION_CODE, version);
      return nullptr;
    }
    return make_nccl_calls(id, rank, size, device).release();
  } catch (const std::exception& failure) {
    std::snprintf(error, error_bytes, "%s", failure.what());
    return nullptr;
  }
}
