#include "worker/runtime/affinity.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

namespace trireme::worker::runtime {
namespace {
TEST(Affinity, SharesAreDisjointAndCoverAllCores) {
  for (int cores = 1; cores <= 33; ++cores)
    for (int workers = 1; workers <= cores; ++workers) {
      std::vector<int> allowed;
      for (int core = 0; core < cores; ++core) allowed.push_back(core * 2 + 1);
      std::multiset<int> used;
      for (int position = 0; position < workers; ++position) {
        const CoreShare share = core_share(allowed, 0, workers, position);
        EXPECT_EQ(share.threads, static_cast<int>(share.cores.size()));
        EXPECT_GE(share.threads, cores / workers);
        EXPECT_LE(share.threads, cores / workers + 1);
        used.insert(share.cores.begin(), share.cores.end());
      }
      EXPECT_EQ(std::vector<int>(used.begin(), used.end()), allowed);
    }
}

TEST(Affinity, MoreWorkersThanCoresTakeTurns) {
  const CoreShare share = core_share({4, 5}, 0, 5, 3);
  EXPECT_EQ(share.cores, std::vector<int>{5});
  EXPECT_EQ(share.threads, 1);
  EXPECT_EQ(core_share({}, 0, 2, 1).threads, 1);
}

TEST(Affinity, AQuotaLimitsThreadsNotCores) {
  const std::vector<int> allowed{0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_TRUE(core_share(allowed, 4, 2, 0).cores.empty());
  EXPECT_EQ(core_share(allowed, 4, 2, 0).threads, 2);
  EXPECT_EQ(core_share(allowed, 0.5, 2, 0).threads, 1);
  EXPECT_EQ(core_share(allowed, 8, 2, 0).cores.size(), 4U);
}

TEST(Affinity, ThisMachineHasCores) {
  EXPECT_FALSE(cores_of_launch().empty());
  EXPECT_GE(cpu_quota(), 0);
}

TEST(Affinity, AWorkerComputesBesideItsGpu) {
  std::vector<int> allowed;
  for (int core = 0; core < 16; ++core) allowed.push_back(core);
  // Two nodes whose second threads of a core come last, as servers number them.
  const std::vector<std::vector<int>> nodes{{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}};
  const auto share = [&](const std::vector<std::int64_t>& gpus, int workers, int position) {
    return numa_share(allowed, 0, nodes, gpus, workers, position);
  };
  EXPECT_EQ(share({0, 0, 1, 1}, 4, 2).cores, (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ(share({0, 0, 1, 1}, 4, 3).cores, (std::vector<int>{12, 13, 14, 15}));
  EXPECT_EQ(share({0, 0, 1, 1}, 4, 3).node, 1);
  EXPECT_EQ(share({1, 0}, 1, 0).cores, nodes[1]) << "the only worker has its GPU's node to itself";
  EXPECT_EQ(share({1}, 2, 1).cores, (std::vector<int>{12, 13, 14, 15})) << "two share a GPU";
  EXPECT_EQ(share({}, 2, 1).cores, nodes[1]) << "on the CPU no share lies across nodes that need not";
  EXPECT_EQ(share({}, 2, 1).node, 1);
  EXPECT_EQ(share({}, 1, 0).node, -1);
  EXPECT_EQ(share({0, -1}, 2, 1).cores, nodes[1]) << "an unknown node: evenly";
  EXPECT_EQ(share({0, 7}, 2, 0).cores, nodes[0]);
  EXPECT_EQ(numa_share({0, 1, 2, 3}, 0, nodes, {1, 1}, 2, 1).cores, (std::vector<int>{2, 3}))
      << "the node of the GPU is not ours to use";
  EXPECT_EQ(numa_share(allowed, 0, {}, {}, 2, 1).cores, (std::vector<int>{8, 9, 10, 11, 12, 13, 14, 15}));
}

}  // namespace
}  // namespace trireme::worker::runtime
