// Mail over a communicator of its own: at most one send in flight per peer, the rest queues here (where
// replaceable mail can be replaced); receives by matched probe, so that mail may have any size up to 1 GiB.
// An MPI error is a hint, never a verdict: it is logged once per peer and that mail is dropped; who is dead
// is decided from silence. On one host whoever waits is woken by the sender's bell; between hosts MPI is
// polled, often while mail comes and seldom in between.
#pragma once

#include <memory>

#include <mpi.h>

#include "common/mailbox/mailbox.h"
#include "common/mailbox/mpi/bell.h"

namespace trireme {

// `everybody_hears`: all ranks of the communicator have a bell that all others reach.
std::unique_ptr<Mailbox> make_mpi_mailbox(MPI_Comm communicator, std::unique_ptr<Bell> bell,
                                          bool everybody_hears);

}  // namespace trireme
