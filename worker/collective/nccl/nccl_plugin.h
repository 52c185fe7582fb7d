// What the CUDA plug-in library (libtrireme_cuda.so) offers, as C symbols found with dlsym; nothing links it.
// It needs a process that has loaded the CUDA torch libraries.
#pragma once

#include <cstddef>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

inline constexpr const char* kCudaPluginName = "libtrireme_cuda.so";
inline constexpr std::size_t kNcclIdBytes = 128;

extern "C" {
// A fresh id for one communicator; one rank makes it and the control plane carries it to the others. 0, or
// not, with the reason in `error`.
using NcclUniqueIdFunction = int (*)(char id[kNcclIdBytes], char* error, std::size_t error_bytes);
// A group of `size` ranks over NCCL for the GPU `device`; null with the reason in `error`. Collective: every
// rank calls it with the same id. The caller owns it. Tensors may be on that GPU, or on the host, from where
// they are staged.
using NcclGroupFunction = Group* (*)(const char id[kNcclIdBytes], int rank, int size, int device,
                                     const GroupOptions* options, char* error, std::size_t error_bytes);
}
inline constexpr const char* kNcclUniqueIdSymbol = "trireme_nccl_unique_id";
inline constexpr const char* kNcclGroupSymbol = "trireme_nccl_group";

}  // namespace trireme::worker::collective
