// One rank of the mailbox suite over MPI; started by mailbox_test through mpirun. Prints its verdict.
#include <cstdio>

#include <unistd.h>

#include "common/mailbox/mpi/world.h"
#include "tests/common/mailbox/exchange.h"

namespace {
// Ranks 1 … form a gang without rank 0, twice, in reverse order.
std::string gang(trireme::MpiWorld& world) {
  std::vector<trireme::Rank> members;
  for (trireme::Rank rank = world.size() - 1; rank >= 1; --rank) members.push_back(rank);
  for (int tag = 1; tag <= 2 && world.rank() != 0; ++tag) {
    MPI_Comm comm = world.make_gang(members, tag);
    int rank = -1, sum = 0, mine = world.rank();
    MPI_Comm_rank(comm, &rank);
    if (members[static_cast<std::size_t>(rank)] != world.rank()) return "the gang is out of order";
    MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, comm);
    if (sum != world.size() * (world.size() - 1) / 2) return "the gang's sum is off";
    MPI_Comm_free(&comm);
  }
  return "";
}
}  // namespace

int main() {
  trireme::MpiWorld world;
  std::string fault;
  {
    auto box = world.mailbox();
    trireme::test::Peer peer{*box};
    fault = trireme::test::whole_suite(peer);
    if (fault.empty()) fault = gang(world);
    if (fault.empty() && world.workers_on_host() != world.size() - 1)
      fault = "not all workers are on this host";
    if (fault.empty() && world.position_on_host() != world.rank() - 1) fault = "wrong position on the host";
    if (fault.empty()) fault = trireme::test::meet(peer);
  }
  std::printf("rank %d: %s\n", world.rank(), fault.empty() ? "ok" : fault.c_str());
  std::fflush(stdout);
  if (!fault.empty()) ::_exit(1);
  world.finalize();
  return 0;
}
