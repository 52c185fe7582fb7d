#include "coordinator/fleet/fleet.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "coordinator/fleet/step_watch.h"

namespace trireme::coordinator::fleet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class FleetTest : public testing::Test {
 protected:
  SteadyTime start{seconds(1000)};
  Limits limits = limits_of({});
  Fleet fleet{2, limits, start};

  // Reviews every 100 ms until `until`; the verdicts on the way.
  std::vector<Verdict> pass(SteadyTime from, SteadyTime until) {
    std::vector<Verdict> all;
    for (auto now = from; now <= until; now += milliseconds(100))
      for (auto& verdict : fleet.review(now)) all.push_back(verdict);
    return all;
  }
};

TEST_F(FleetTest, SilenceMakesSuspectThenDead) {
  fleet.hello(1, {.host = "a"}, start);
  fleet.hello(2, {.host = "b"}, start);
  EXPECT_TRUE(fleet.everyone_here());
  EXPECT_TRUE(pass(start, start + seconds(3)).empty());
  fleet.heartbeat(2, {.sequence = 1}, start + seconds(3));
  auto verdicts = pass(start + milliseconds(3100), start + seconds(4));
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_EQ(verdicts[0].rank, 1);
  EXPECT_EQ(verdicts[0].state, Liveness::kSuspect);
  fleet.heartbeat(1, {.sequence = 1}, start + seconds(4));
  verdicts = pass(start + milliseconds(4100), start + milliseconds(4200));
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_EQ(verdicts[0].state, Liveness::kAlive);
  for (int i = 0; i < 110; ++i)
    fleet.heartbeat(2, {.sequence = 2}, start + seconds(4) + i * milliseconds(100));
  verdicts = pass(start + milliseconds(4300), start + milliseconds(14200));
  ASSERT_EQ(verdicts.size(), 2U);
  EXPECT_EQ(verdicts[1].rank, 1);
  EXPECT_EQ(verdicts[1].state, Liveness::kDead);
  EXPECT_NE(verdicts[1].reason.find("silent"), std::string::npos);
}

TEST_F(FleetTest, AWorkerThatNeverReportsIsDeadAtTheStartLimit) {
  fleet.hello(1, {}, start);
  EXPECT_FALSE(fleet.everyone_here());
  std::vector<Verdict> verdicts;
  for (auto now = start; now < start + seconds(121); now += milliseconds(500)) {
    fleet.heartbeat(1, {}, now);
    for (auto& verdict : fleet.review(now)) verdicts.push_back(verdict);
  }
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_EQ(verdicts[0].rank, 2);
  EXPECT_EQ(verdicts[0].state, Liveness::kDead);
  EXPECT_NE(verdicts[0].reason.find("never reported"), std::string::npos);
}

TEST_F(FleetTest, ARetiredWorkerTakesNoTaskAndItsSilenceMeansNothing) {
  fleet.hello(1, {}, start);
  fleet.hello(2, {}, start);
  EXPECT_TRUE(fleet.takes_tasks(1));
  fleet.retire(1);
  EXPECT_FALSE(fleet.takes_tasks(1));
  EXPECT_TRUE(fleet.takes_tasks(2));
  EXPECT_TRUE(fleet.everyone_here());
  for (auto now = start; now < start + seconds(60); now += milliseconds(500)) {
    fleet.heartbeat(2, {}, now);
    EXPECT_TRUE(fleet.review(now).empty());
  }
  EXPECT_EQ(name_of(fleet.member(1).state), "retired");
}

TEST_F(FleetTest, ItsOwnPauseIsNotTheirSilence) {
  fleet.hello(1, {}, start);
  fleet.hello(2, {}, start);
  EXPECT_TRUE(pass(start, start + seconds(1)).empty());
  EXPECT_TRUE(fleet.review(start + seconds(3600)).empty());
}

// F52: two seconds before the numbers of milliseconds and microseconds that 31 and 32 bits hold.
TEST(FleetUptimeTest, VerdictsDoNotDependOnTheUptime) {
  const auto verdicts_from = [](SteadyTime start) {
    Fleet fleet{2, limits_of({}), start};
    fleet.hello(1, {}, start);
    fleet.hello(2, {}, start);
    std::string text;
    for (int tick = 0; tick <= 200; ++tick) {
      const auto now = start + tick * milliseconds(100);
      fleet.heartbeat(2, {.sequence = static_cast<std::uint64_t>(tick)}, now);
      for (const auto& verdict : fleet.review(now))
        text += std::to_string(tick) + ": " + std::to_string(verdict.rank) + " " +
                std::string(name_of(verdict.state)) + "\n";
    }
    return text;
  };
  const std::string usual = verdicts_from(SteadyTime{seconds(1000)});
  EXPECT_NE(usual.find("1 dead"), std::string::npos) << usual;
  const auto power = [](int bits) { return std::int64_t{1} << bits; };
  for (const std::chrono::nanoseconds limit :
       {std::chrono::nanoseconds(std::chrono::microseconds(power(31))),
        std::chrono::nanoseconds(std::chrono::microseconds(power(32))),
        std::chrono::nanoseconds(milliseconds(power(31))), std::chrono::nanoseconds(milliseconds(power(32)))})
    EXPECT_EQ(verdicts_from(SteadyTime{limit} - seconds(2)), usual) << limit.count();
}

TEST_F(FleetTest, SpeedIsRelativeToTheFastestOnTheSameKind) {
  EXPECT_EQ(fleet.speed_ratio(1), 1);
  fleet.note_rate(1, "filter", 100);
  fleet.note_rate(2, "filter", 50);
  EXPECT_DOUBLE_EQ(fleet.speed_ratio(1), 1);
  EXPECT_DOUBLE_EQ(fleet.speed_ratio(2), 0.5);
  fleet.note_rate(2, "embed", 10);
  EXPECT_DOUBLE_EQ(fleet.speed_ratio(2), 1);
}

TEST(LimitsTest, TheOrderIsChecked) {
  jobs::TimeoutSpec spec;
  EXPECT_NO_THROW(limits_of(spec));
  spec.fence_seconds = spec.dead_seconds - 1;
  try {
    limits_of(spec);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("fence_seconds"), std::string::npos);
  }
  spec = {};
  spec.heartbeat_seconds = spec.suspect_seconds;
  EXPECT_THROW(limits_of(spec), Error);
  spec = {};
  spec.lease_seconds = spec.fence_seconds;
  EXPECT_THROW(limits_of(spec), Error);
}

TEST(StepWatchTest, TenMediansAndAtLeastTheLimit) {
  StepWatch watch(seconds(2));
  SteadyTime now{seconds(50)};
  for (int i = 0; i < 5; ++i) watch.step(now += seconds(1));
  EXPECT_FALSE(watch.stuck(now + seconds(1000)));  // warm-up
  for (int i = 0; i < 5; ++i) watch.step(now += seconds(1));
  EXPECT_EQ(watch.limit(), seconds(10));
  EXPECT_FALSE(watch.stuck(now + seconds(10)));
  EXPECT_TRUE(watch.stuck(now + seconds(11)));
  watch.progress(now + seconds(9));
  EXPECT_FALSE(watch.stuck(now + seconds(11)));
}

}  // namespace
}  // namespace trireme::coordinator::fleet
