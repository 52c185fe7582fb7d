#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace trireme::worker::losses {
namespace {

TEST(MpiContrastive, HasTheBitsOfOneRankOverTwoAndFour) {
  if (std::system("command -v mpirun > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "mpirun is not installed: the loss was NOT judged over MPI";
  const char* bin = std::getenv("TRIREME_BIN");
  const std::string program =
      std::string(bin == nullptr ? TRIREME_MPI_RANKS_FOLDER : bin) + "/losses_mpi_ranks";
  for (const char* ranks : {"2", "4"}) {
    const std::string command =
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 120 mpirun --oversubscribe "
        "--bind-to none -n " +
        std::string(ranks) + " " + program;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
}

}  // namespace
}  // namespace trireme::worker::losses
