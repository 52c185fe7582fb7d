// What the CUDA plug-in library (libtrireme_cuda.so) offers, as C symbols found with dlsym; nothing links it.
// It needs a process that has loaded the CUDA torch libraries.
#pragma once

#include <cstddef>

#include "worker/collective/stream/stream_calls.h"

namespace trireme::worker::collective {

inline constexpr const char* kCudaPluginName = "libtrireme_cuda.so";
inline constexpr std::size_t kNcclIdBytes = 128;

extern "C" {
// The version of torch that it was built with; it works beside no other.
using PluginTorchFunction = const char* (*)();
// A fresh id for one communicator; one rank makes it and the control plane carries it to the others. 0, or
// not, with the reason in `error`.
using NcclUniqueIdFunction = int (*)(char id[kNcclIdBytes], char* error, std::size_t error_bytes);
// The calls of one rank of `size` over NCCL for the GPU `device`; null with the reason in `error`.
// Collective: every rank calls it with the same id. The caller owns it.
using NcclCallsFunction = StreamCalls* (*)(const char id[kNcclIdBytes], int rank, int size, int device,
                                           char* error, std::size_t error_bytes);
}
inline constexpr const char* kPluginTorchSymbol = "trireme_plugin_torch";
inline constexpr const char* kNcclUniqueIdSymbol = "trireme_nccl_unique_id";
inline constexpr const char* kNcclCallsSymbol = "trireme_nccl_calls";

}  // namespace trireme::worker::collective
