#include "worker/collective/gang_group.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

#include "common/base/error.h"
#include "worker/collective/local/local_group.h"

namespace trireme::worker::collective {
namespace {

struct Member {
  std::string device, machine;
  bool plugin = true;
};

struct Outcome {
  std::string chosen, error;
  std::string id;  // that the factory got
  int rank = -1, size = 0, gpu = -1;
  bool fell_back = false;
};

std::vector<Outcome> meet(const std::vector<Member>& members, const std::string& id = std::string(128, 'x')) {
  auto groups = make_local_groups(static_cast<int>(members.size()));
  std::vector<Outcome> outcomes(members.size());
  std::vector<std::thread> ranks;
  for (std::size_t r = 0; r < members.size(); ++r)
    ranks.emplace_back([&, r] {
      Outcome& outcome = outcomes[r];
      NcclFactory nccl;
      if (members[r].plugin)
        nccl = {[&]() -> std::string {
                  if (id.empty()) throw Error(ErrorKind::kUnavailable, "no driver");
                  return id;
                },
                [&](const std::string& got, int rank, int size, int gpu) {
                  outcome.id = got;
                  outcome.rank = rank;
                  outcome.size = size;
                  outcome.gpu = gpu;
                  return std::unique_ptr<Group>();
                }};
      try {
        outcome.fell_back = make_gang_group(std::move(groups[r]), members[r].device, members[r].machine, nccl,
                                            outcome.chosen) != nullptr;
      } catch (const Error& error) {
        outcome.error = error.what();
      }
    });
  for (auto& rank : ranks) rank.join();
  return outcomes;
}

TEST(GangGroup, EveryMemberGetsTheIdOfTheFirstAndItsOwnGpu) {
  const auto outcomes = meet({{"cuda:0", "a"}, {"cuda:1", "a"}, {"cuda:0", "b"}});
  const int gpus[] = {0, 1, 0};
  for (int r = 0; r < 3; ++r) {
    const auto& outcome = outcomes[static_cast<std::size_t>(r)];
    EXPECT_EQ(outcome.id, std::string(128, 'x'));
    EXPECT_EQ(outcome.rank, r);
    EXPECT_EQ(outcome.size, 3);
    EXPECT_EQ(outcome.gpu, gpus[r]);
    EXPECT_EQ(outcome.chosen, "NCCL over 3 GPUs");
  }
}

TEST(GangGroup, OneMemberWithoutItsOwnGpuOrPluginKeepsAllOnTheHost) {
  const std::vector<std::pair<std::vector<Member>, std::string>> cases{
      {{{"cuda:0", "a"}, {"cpu", "a"}}, "local: rank 1 has no GPU"},
      {{{"cuda:0", "a"}, {"cuda:1", "a", false}}, "local: rank 1 has no CUDA plug-in"},
      {{{"cuda:0", "a"}, {"cuda:0", "a"}}, "local: rank 1 shares GPU 0 with another rank"},
      {{{"cpu", "a", false}, {"cpu", "b", false}}, "local: rank 0 has no GPU"}};
  for (const auto& [members, why] : cases)
    for (const auto& outcome : meet(members)) {
      EXPECT_TRUE(outcome.fell_back);
      EXPECT_TRUE(outcome.id.empty());
      EXPECT_EQ(outcome.chosen, why);
    }
}

TEST(GangGroup, AFailureOfTheFirstReachesAllInsteadOfAHang) {
  for (const auto& outcome : meet({{"cuda:0", "a"}, {"cuda:1", "a"}}, ""))
    EXPECT_NE(outcome.error.find("could not make an NCCL id"), std::string::npos) << outcome.error;
}

}  // namespace
}  // namespace trireme::worker::collective
