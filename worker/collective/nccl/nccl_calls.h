// StreamCalls over NCCL: a non-blocking communicator, one stream of high priority, events without timing.
#pragma once

#include <memory>

#include "worker/collective/nccl/nccl_plugin.h"

namespace trireme::worker::collective {

// Collective; returns while the communicator connects (StreamCalls::taken()).
std::unique_ptr<StreamCalls> make_nccl_calls(const char id[kNcclIdBytes], int rank, int size, int device);

}  // namespace trireme::worker::collective
