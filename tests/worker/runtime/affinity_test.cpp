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

TEST(Affinity, CoreLists) {
  EXPECT_EQ(parse_core_list("0-2,8,10-11"), (std::vector<int>{0, 1, 2, 8, 10, 11}));
  EXPECT_EQ(parse_core_list("7"), std::vector<int>{7});
  for (const char* text : {"", "x", "1-", "1-x", "2,,3", "0-99999999"})
    EXPECT_TRUE(parse_core_list(text).empty()) << text;
  EXPECT_FALSE(cores_of_launch().empty());
  EXPECT_GE(cpu_quota(), 0);
}
}  // namespace
}  // namespace trireme::worker::runtime
