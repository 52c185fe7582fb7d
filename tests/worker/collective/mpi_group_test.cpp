#include "worker/collective/mpi/mpi_group.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace trireme::worker::collective {
namespace {

TEST(MpiGroup, PassesTheSuiteOverThreeAndFourRanks) {
  if (std::system("command -v mpirun > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "mpirun is not installed: the MPI backend was NOT judged";
  const char* bin = std::getenv("TRIREME_BIN");
  const std::string program =
      std::string(bin == nullptr ? TRIREME_MPI_RANKS_FOLDER : bin) + "/collective_mpi_ranks";
  for (const char* ranks : {"3", "4"}) {
    const std::string command =
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 60 mpirun --oversubscribe "
        "--bind-to none -n " +
        std::string(ranks) + " " + program;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
}

}  // namespace
}  // namespace trireme::worker::collective
