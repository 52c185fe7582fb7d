// A gang of threads in one process: the same contract as between processes, without MPI. Tensors are handed
// over by reference, so a rank reads its peers' memory between two meetings of all ranks.
#pragma once

#include <memory>
#include <vector>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

// One group per rank; each is driven by one thread. A rank that throws spoils the gang: every other rank then
// throws kTryAgain naming it.
std::vector<std::unique_ptr<Group>> make_local_groups(int size, const GroupOptions& options = {});

}  // namespace trireme::worker::collective
