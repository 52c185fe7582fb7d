// A gang over NCCL: non-blocking communicator, one stream, every wait polled with ncclCommGetAsyncError and
// cudaStreamQuery against the deadline and the stop request; after a throw the communicator is aborted.
#pragma once

#include <memory>

#include "worker/collective/nccl/nccl_plugin.h"

namespace trireme::worker::collective {

std::unique_ptr<Group> make_nccl_group(const char id[kNcclIdBytes], int rank, int size, int device,
                                       const GroupOptions& options);

}  // namespace trireme::worker::collective
