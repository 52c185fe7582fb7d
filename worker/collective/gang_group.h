// Which backend a gang computes over: NCCL when every member has a GPU of its own and the plug-in; else the
// group it already has (MPI), through which device tensors then pass. All members decide alike, from what all
// of them say.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "worker/collective/group.h"
#include "worker/collective/stream/stream_calls.h"

namespace trireme::worker::collective {

// How to make NCCL's calls here; both empty where there is no plug-in (CudaPlugin is the real one).
struct NcclFactory {
  std::function<std::string()> unique_id;
  std::function<std::unique_ptr<StreamCalls>(const std::string& id, int rank, int size, int gpu)> calls;
};

// Collective over `host`. `device`: "cpu" or "cuda:<n>"; `machine`: a name of this host, for NCCL refuses two
// ranks on one GPU. `chosen` gets one line that says which backend was taken and why: also where NCCL does
// not start on some rank, which leaves all on the host's group.
std::unique_ptr<Group> make_gang_group(std::unique_ptr<Group> host, const std::string& device,
                                       const std::string& machine, const NcclFactory& nccl,
                                       const GroupOptions& options, std::string& chosen);

}  // namespace trireme::worker::collective
