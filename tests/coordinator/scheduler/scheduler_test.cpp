#include "coordinator/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include "coordinator/scheduler/durations.h"
#include "coordinator/scheduler/leases.h"

namespace trireme::coordinator::scheduler {
namespace {

std::vector<Rank> ranks(int count) {
  std::vector<Rank> all;
  for (int rank = 1; rank <= count; ++rank) all.push_back(rank);
  return all;
}

TEST(GangSizeTest, LargestDivisorThatFits) {
  EXPECT_EQ(gang_size(8, 1), 1);
  EXPECT_EQ(gang_size(8, 3), 2);
  EXPECT_EQ(gang_size(8, 16), 8);
  EXPECT_EQ(gang_size(12, 5), 4);
  EXPECT_EQ(gang_size(7, 6), 1);
  EXPECT_EQ(gang_size(8, 0), 0);
}

TEST(SchedulerTest, LaterStagesFirstThenManifestOrder) {
  Scheduler scheduler;
  scheduler.add({.stage = 0, .shard = 1});
  scheduler.add({.stage = 0, .shard = 0});
  scheduler.add({.stage = 2, .shard = 5, .first = 256});
  scheduler.add({.stage = 2, .shard = 5, .first = 0});
  scheduler.add({.stage = 2, .phase = 1, .shard = 9});
  std::set<Rank> idle{1, 2, 3, 4, 5};
  const auto grants = scheduler.grant(ranks(5), idle, true);
  ASSERT_EQ(grants.size(), 5U);
  EXPECT_EQ(grants[0].task.phase, 1);
  EXPECT_EQ(grants[1].task.first, 0);
  EXPECT_EQ(grants[2].task.first, 256);
  EXPECT_EQ(grants[3].task.shard, 0);
  EXPECT_EQ(grants[4].task.shard, 1);
  EXPECT_TRUE(idle.empty());
  EXPECT_EQ(scheduler.waiting(), 0U);
}

TEST(SchedulerTest, AGangReservesTheLowestRanksAndOthersGoOn) {
  Scheduler scheduler;
  scheduler.add({.stage = 3, .slots = 8});
  for (int shard = 0; shard < 4; ++shard) scheduler.add({.stage = 1, .shard = shard});
  std::set<Rank> idle{1, 3};  // 2 is busy: of three workers, ranks 1 and 2 make the gang
  auto grants = scheduler.grant(ranks(3), idle, true);
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].workers, std::vector<Rank>{3});
  EXPECT_EQ(idle, std::set<Rank>{1});
  idle.insert(2);
  grants = scheduler.grant(ranks(3), idle, true);
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].workers, (std::vector<Rank>{1, 2}));
  EXPECT_EQ(grants[0].task.slots, 8);
}

TEST(SchedulerTest, AGangWaitsUntilEveryoneReported) {
  Scheduler scheduler;
  scheduler.add({.stage = 3, .slots = 8});
  std::set<Rank> idle{1};
  EXPECT_TRUE(scheduler.grant({1}, idle, false).empty());
  idle = {1, 2};
  EXPECT_EQ(scheduler.grant({1, 2}, idle, true).size(), 1U);
}

TEST(SchedulerTest, OneGangAtATime) {
  Scheduler scheduler;
  scheduler.add({.stage = 3, .slots = 1});
  scheduler.add({.stage = 4, .slots = 1});
  std::set<Rank> idle{1, 2};
  auto grants = scheduler.grant(ranks(2), idle, true);
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(grants[0].task.stage, 4);
  EXPECT_TRUE(scheduler.grant(ranks(2), idle, true).empty());
  scheduler.gang_ended();
  idle.insert(1);
  EXPECT_EQ(scheduler.grant(ranks(2), idle, true).size(), 1U);
}

TEST(SchedulerTest, GivesAwayNoMoreThanAsked) {
  Scheduler scheduler;
  for (int shard = 0; shard < 9; ++shard) scheduler.add({.shard = shard});
  std::set<Rank> idle{1, 2, 3};
  EXPECT_EQ(scheduler.grant(ranks(3), idle, true, 2).size(), 2U);
  EXPECT_EQ(idle.size(), 1U);
}

TEST(LeasesTest, HeartbeatsExtendAndSilenceExpires) {
  Leases leases(LeaseId{41}, std::chrono::seconds(5));
  const SteadyTime start{std::chrono::seconds(100)};
  Lease& lease = leases.grant({{.shard = 7}, {2}}, start);
  EXPECT_EQ(lease.id.value, 42U);
  EXPECT_EQ(leases.of_worker(2)->id, lease.id);
  EXPECT_TRUE(leases.expired(start + std::chrono::seconds(5)).empty());
  EXPECT_FALSE(leases.extend(LeaseId{42}, 3, start + std::chrono::seconds(4)));  // not the holder
  EXPECT_TRUE(leases.extend(LeaseId{42}, 2, start + std::chrono::seconds(4)));
  EXPECT_TRUE(leases.expired(start + std::chrono::seconds(8)).empty());
  EXPECT_EQ(leases.expired(start + std::chrono::seconds(10)).size(), 1U);
  leases.end(LeaseId{42});
  EXPECT_EQ(leases.find(LeaseId{42}), nullptr);
  EXPECT_EQ(leases.of_worker(2), nullptr);
  EXPECT_EQ(leases.grant({{}, {1}}, start).id.value, 43U);
}

TEST(LeasesTest, TwinsAreLeasesOfOneTask) {
  Leases leases(LeaseId{0}, std::chrono::seconds(5));
  const LeaseId first = leases.grant({{.stage = 1, .shard = 7}, {2}}, {}).id;
  const LeaseId other = leases.grant({{.stage = 1, .shard = 8}, {1}}, {}).id;
  EXPECT_EQ(leases.twin_of(*leases.find(first)), nullptr);
  const LeaseId twin = leases.grant({{.stage = 1, .shard = 7}, {3}}, {}).id;
  EXPECT_EQ(leases.twin_of(*leases.find(first)), leases.find(twin));
  EXPECT_EQ(leases.twin_of(*leases.find(twin)), leases.find(first));
  EXPECT_EQ(leases.twin_of(*leases.find(other)), nullptr);
  leases.end(first);
  EXPECT_EQ(leases.of_task({.stage = 1, .shard = 7}), leases.find(twin));
}

TEST(DurationsTest, FarBehindIsBeyondMostOfItsFellows) {
  using std::chrono::milliseconds;
  Durations durations(milliseconds(50));
  const ReadyTask task{.stage = 1, .shard = 9}, merge{.stage = 1, .phase = 1};
  for (int time : {10, 20}) durations.note(task, milliseconds(time));
  EXPECT_FALSE(durations.limit(task));  // too few to say
  durations.note({.stage = 1, .shard = 3}, milliseconds(30));
  EXPECT_EQ(durations.limit(task), milliseconds(50));
  EXPECT_FALSE(durations.limit(merge));
  for (int i = 0; i < 5; ++i) durations.note(task, milliseconds(1000));
  EXPECT_EQ(durations.limit(task), milliseconds(1500));
}

}  // namespace
}  // namespace trireme::coordinator::scheduler
