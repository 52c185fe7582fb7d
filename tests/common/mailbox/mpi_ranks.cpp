// One rank of the mailbox suite over MPI; started by mailbox_test through mpirun. Prints its verdict.
#include <cstdio>

#include <unistd.h>

#include "common/mailbox/mpi/world.h"
#include "tests/common/mailbox/exchange.h"

// Open MPI keeps memory of plug-ins that it has unloaded.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}

namespace {
// The gangs' communicator is another than the mail's: equal tags do not meet.
std::string gangs(trireme::MpiWorld& world) {
  const int right = (world.rank() + 1) % world.size(),
            left = (world.rank() + world.size() - 1) % world.size();
  int mine = world.rank(), got = -1;
  MPI_Sendrecv(&mine, 1, MPI_INT, right, 1, &got, 1, MPI_INT, left, 1, world.gangs(), MPI_STATUS_IGNORE);
  return got == left ? "" : "the gangs' communicator delivers to the wrong rank";
}
}  // namespace

int main() {
  trireme::MpiWorld world;
  std::string fault;
  {
    auto box = world.mailbox();
    trireme::test::Peer peer{*box};
    fault = trireme::test::whole_suite(peer);
    if (fault.empty()) fault = gangs(world);
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
