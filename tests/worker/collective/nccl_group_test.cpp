#include "worker/collective/nccl/nccl_plugin.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/base/error.h"
#include "worker/collective/cuda_plugin.h"

namespace trireme::worker::collective {
namespace {
namespace fs = std::filesystem;

fs::path bin() {
  const char* folder = std::getenv("TRIREME_BIN");
  return folder == nullptr ? TRIREME_MPI_RANKS_FOLDER : folder;
}

int gpus() {
  int count = 0;
  while (fs::exists("/dev/nvidia" + std::to_string(count))) ++count;
  return count;
}

TEST(NcclGroup, PassesTheSuiteOnEveryGpuOfThisMachine) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU on this machine: the NCCL backend was NOT judged";
  const fs::path plugin = bin() / kCudaPluginName;
  ASSERT_TRUE(fs::exists(plugin)) << "a machine with a GPU needs the CUDA toolkit and the full torch wheel";
  for (int ranks = 1; ranks <= gpus(); ranks *= 2) {
    const std::string command =
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 120 mpirun --oversubscribe "
        "--bind-to none -n " +
        std::to_string(ranks) + " " + (bin() / "collective_mpi_ranks").string() + " --nccl " +
        plugin.string();
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
}

TEST(CudaPlugin, SaysWhatIsMissingInsteadOfFailingToStart) {
  try {
    const CudaPlugin plugin("/nowhere");
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  }
  const fs::path plugin = bin() / kCudaPluginName;
  if (!fs::exists(plugin)) GTEST_SKIP() << "the plug-in is not built here: its loading was NOT judged";
  if (gpus() > 0) GTEST_SKIP() << "this machine has a GPU: the plug-in loads";
  try {
    const CudaPlugin loaded(plugin.string());
    // It loads beside a torch that has its CUDA parts; without a driver there is no id.
    EXPECT_THROW(static_cast<void>(loaded.nccl_unique_id()), Error);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  }
}

}  // namespace
}  // namespace trireme::worker::collective
