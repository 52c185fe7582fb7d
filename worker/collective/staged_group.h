// A gang of GPUs over a group of the host: every device tensor passes through host memory. For gangs that
// NCCL cannot serve (two ranks on one GPU, a rank without one, no plug-in): right, and as slow as that is.
#pragma once

#include <memory>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

std::unique_ptr<Group> make_staged_group(std::unique_ptr<Group> host);

}  // namespace trireme::worker::collective
