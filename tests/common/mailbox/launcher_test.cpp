#include "common/mailbox/mpi/launcher.h"

#include <gtest/gtest.h>

#include <map>

namespace trireme {
namespace {

TEST(Launcher, AProcessOfSeveralWhoseMpiWouldBeAloneIsFound) {
  std::map<std::string, std::string> variables;
  const auto get = [&](const std::string& name) { return variables.count(name) != 0 ? variables[name] : ""; };
  EXPECT_EQ(lonely_start(get), "");
  variables = {{"SLURM_NTASKS", "1"}, {"SLURM_PROCID", "0"}};
  EXPECT_EQ(lonely_start(get), "");
  variables = {{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "2"}};
  EXPECT_NE(lonely_start(get).find("srun started this process as rank 2 of 4"), std::string::npos);
  variables["PMIX_NAMESPACE"] = "slurm.pmix.3.0";
  EXPECT_EQ(lonely_start(get), "");
  variables = {{"PMI_SIZE", "3"}, {"PMI_RANK", "1"}};
  EXPECT_NE(lonely_start(get).find("rank 1 of 3 (PMI_SIZE)"), std::string::npos);
  variables = {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "0"}};
  EXPECT_NE(lonely_start(get).find("OMPI_COMM_WORLD_SIZE"), std::string::npos);
}

}  // namespace
}  // namespace trireme
