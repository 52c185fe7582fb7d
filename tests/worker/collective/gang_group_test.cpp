#include "worker/collective/gang_group.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

#include "common/base/error.h"
#include "tests/worker/collective/support/recorded_calls.h"
#include "worker/collective/local/local_group.h"

namespace trireme::worker::collective {
namespace {

struct Member {
  std::string device, machine;
  bool plugin = true, starts = true;
};

struct Outcome {
  std::string chosen, error;
  std::string id;  // that the factory got
  int rank = -1, size = 0, gpu = -1;
  bool fell_back = false, takes_device_tensors = false;
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
                  if (members[r].starts)
                    return std::unique_ptr<StreamCalls>(
                        std::make_unique<RecordedCalls>(nullptr, std::make_shared<Record>()));
                  throw Error(ErrorKind::kTryAgain, "no memory");
                }};
      try {
        const auto group = make_gang_group(std::move(groups[r]), members[r].device, members[r].machine, nccl,
                                           {}, outcome.chosen);
        outcome.fell_back = std::string(group->backend()) != "recorded";
        outcome.takes_device_tensors = group->takes_device_tensors();
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
    EXPECT_EQ(outcome.chosen, "Recorded over 3 GPUs");
  }
}

TEST(GangGroup, OneMemberWithoutItsOwnGpuOrPluginKeepsAllOnTheHost) {
  const std::vector<std::pair<std::vector<Member>, std::string>> cases{
      {{{"cuda:0", "a"}, {"cpu", "a"}}, "rank 1 has no GPU"},
      {{{"cuda:0", "a"}, {"cuda:1", "a", false}}, "rank 1 has no CUDA plug-in"},
      {{{"cuda:0", "a"}, {"cuda:0", "a"}}, "rank 1 shares GPU 0 with another rank"},
      {{{"cpu", "a", false}, {"cpu", "b", false}}, "rank 0 has no GPU"}};
  for (const auto& [members, why] : cases)
    for (std::size_t r = 0; const auto& outcome : meet(members)) {
      const bool gpu = members[r++].device != "cpu";
      EXPECT_TRUE(outcome.fell_back);
      EXPECT_TRUE(outcome.id.empty());
      EXPECT_EQ(outcome.takes_device_tensors, gpu);
      EXPECT_EQ(outcome.chosen, (gpu ? "local, through the host: " : "local: ") + why);
    }
}

TEST(GangGroup, WhereNcclDoesNotStartOnOneRankAllGoThroughTheHost) {
  const auto outcomes = meet({{"cuda:0", "a"}, {"cuda:1", "a", true, false}});
  for (const auto& outcome : outcomes) {
    EXPECT_TRUE(outcome.fell_back && outcome.takes_device_tensors);
    EXPECT_NE(outcome.chosen.find("NCCL does not start on rank 1"), std::string::npos) << outcome.chosen;
  }
  EXPECT_NE(outcomes[1].chosen.find("no memory"), std::string::npos) << outcomes[1].chosen;
}

TEST(GangGroup, AFailureOfTheFirstReachesAllInsteadOfAHang) {
  for (const auto& outcome : meet({{"cuda:0", "a"}, {"cuda:1", "a"}}, ""))
    EXPECT_NE(outcome.chosen.find("could not make an NCCL id"), std::string::npos) << outcome.chosen;
}

}  // namespace
}  // namespace trireme::worker::collective
