// Mail over a communicator of its own: at most one send in flight per peer, the rest queues here (where
// replaceable mail can be replaced); receives by matched probe, so that mail may have any size up to 1 GiB.
// An MPI error is a hint, never a verdict: it is logged once per peer and that mail is dropped; who is dead
// is decided from silence.
#pragma once

#include <memory>

#include <mpi.h>

#include "common/mailbox/mailbox.h"

namespace trireme {

std::unique_ptr<Mailbox> make_mpi_mailbox(MPI_Comm communicator);

}  // namespace trireme
