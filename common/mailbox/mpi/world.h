// MPI of this process: started with MPI_THREAD_MULTIPLE (refused without it), two duplicated communicators
// whose errors return (one for mail, one for the tensors of gangs). One per process; rank 0 is the
// coordinator.
#pragma once

#include <memory>
#include <string>

#include <mpi.h>

#include "common/mailbox/mailbox.h"
#include "common/mailbox/mpi/bell.h"

namespace trireme {

class MpiWorld {
 public:
  // Collective over all ranks. Throws kUnavailable, saying what to do.
  MpiWorld();
  // Does not finalise: a process that leaves without finalize() ends by _exit, since MPI_Finalize waits for
  // peers that may be dead.
  ~MpiWorld() = default;
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  Rank rank() const { return rank_; }
  int size() const { return size_; }
  // Workers (world ranks >= 1) that share this host, and this one's position among them (-1 for rank 0).
  int workers_on_host() const { return workers_on_host_; }
  int position_on_host() const { return position_on_host_; }

  // The mail's only owner; called once. Must be gone before finalize().
  std::unique_ptr<Mailbox> mailbox();

  // All ranks; for the tensors of gangs only (worker/collective/mpi tells gangs apart by tag). Any thread.
  MPI_Comm gangs() const { return gangs_; }

  // Clean end; waits for all ranks. Nothing of MPI may be used after it.
  void finalize();

 private:
  void hang_bells();

  Rank rank_ = 0;
  int size_ = 0, workers_on_host_ = 0, position_on_host_ = -1;
  MPI_Comm mail_ = MPI_COMM_NULL, gangs_ = MPI_COMM_NULL;
  std::unique_ptr<Bell> bell_;
  bool everybody_hears_ = false;
};

// Name of an MPI error code.
std::string mpi_error_text(int code);

}  // namespace trireme
