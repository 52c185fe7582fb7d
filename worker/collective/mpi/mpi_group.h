// A gang of processes over MPI. Only non-blocking point-to-point calls, polled with MPI_Testall: spin for
// some microseconds, then yield, then sleep shortly, because ranks may share cores. The communicator is used
// beside other gangs' by tag, so a new gang needs no collective call and mail left over by one that was
// cancelled is never taken for that of the next. Sums add in rank order, like the local backend's.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

// `communicator` stays the caller's and must outlive the group; no other traffic than that of groups may use
// it. `members`: its ranks in gang order, this process among them. `generation` (the lease) must be the same
// on all members and differ from the last gang's.
std::unique_ptr<Group> make_mpi_group(MPI_Comm communicator, const std::vector<int>& members,
                                      std::uint64_t generation, const GroupOptions& options = {});

}  // namespace trireme::worker::collective
