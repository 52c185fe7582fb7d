#include "worker/collective/stream/stream_group.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>

#include "common/base/error.h"
#include "tests/support/eventually.h"
#include "tests/worker/collective/support/group_suite.h"
#include "tests/worker/collective/support/recorded_ranks.h"
#include "worker/collective/staged_group.h"

namespace trireme::worker::collective {
namespace {

using namespace std::chrono_literals;
using trireme::testing::eventually;
using Calls = std::vector<std::string>;

class StreamGroups : public ::testing::TestWithParam<int> {};

TEST_P(StreamGroups, PassTheSuite) {
  for (const auto& [name, check] : group_checks())
    run_recorded_ranks(GetParam(), [&, &name = name, check = check](Group& group, Record&) {
      EXPECT_EQ(check(group), "") << name << " at rank " << group.rank();
    });
}

TEST_P(StreamGroups, PassTheSuiteThroughTheHost) {
  for (const auto& [name, check] : group_checks()) {
    auto groups = make_local_groups(GetParam());
    run_ranks(GetParam(), [&, &name = name, check = check](Group& local) {
      auto& group = groups[static_cast<std::size_t>(local.rank())];
      group = make_staged_group(std::move(group));
      EXPECT_EQ(check(*group), "") << name << " at rank " << local.rank();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, StreamGroups, ::testing::Values(1, 2, 3, 4));

// One operation of the library's own each, between two marks, and nobody looks whether it is done.
TEST(StreamGroup, PutsOneNativeOperationBetweenTwoMarks) {
  run_recorded_ranks(2, [](Group& group, Record& record) {
    at::Tensor tensor = at::ones({4});
    static_cast<void>(group.all_gather(tensor));
    EXPECT_EQ(record.take(), (Calls{"open", "all_gather", "close", "mark", "follow"}));
    static_cast<void>(group.reduce_scatter_sum(tensor));
    EXPECT_EQ(record.take(), (Calls{"open", "reduce_scatter_sum", "close", "mark", "follow"}));
    group.all_reduce_sum(tensor);
    EXPECT_EQ(record.take(), (Calls{"open", "all_reduce_sum", "close", "mark", "follow"}));
    group.broadcast(tensor, 1);
    EXPECT_EQ(record.take(), (Calls{"open", "broadcast", "close", "mark", "follow"}));
    at::Tensor in = at::empty({4});
    const auto flight = group.start({{1 - group.rank(), tensor}}, {{1 - group.rank(), in}}, "test");
    EXPECT_EQ(record.take(), (Calls{"open", "receive", "send", "close", "mark"}));
    EXPECT_TRUE(flight->poll());
    flight->wait();
    flight->wait();
    EXPECT_EQ(record.take(), (Calls{"follow"}));
    at::Tensor number = at::ones({1}, at::kLong);  // the host's
    group.all_reduce_sum(number);
    EXPECT_EQ(number.item<std::int64_t>(), 2);
    EXPECT_EQ(record.take(), (Calls{"host all_reduce_sum"}));
    EXPECT_EQ(record.looks_of_driver, 0);
  });
}

// What `doing` makes of the group until it throws.
template <class Doing>
Error thrown_by(const Doing& doing) {
  try {
    EXPECT_TRUE(eventually([&] {
      doing();
      return false;
    }));
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::kInternal, "nothing was thrown"};
}

TEST(StreamGroup, APeerThatDoesNotComeEndsTheCommunicatorAndIsToldLater) {
  run_recorded_ranks(
      1,
      [](Group& group, Record& record) {
        record.stuck = true;
        static_cast<void>(group.all_gather(at::ones({4})));  // does not wait
        const Error error = thrown_by([&] { group.confirm(); });
        EXPECT_EQ(error.kind(), ErrorKind::kTryAgain);
        EXPECT_NE(std::string(error.what()).find("all_gather at rank 0"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("within 20 ms"), std::string::npos) << error.what();
        EXPECT_EQ(record.aborts, 1);
        EXPECT_THROW(static_cast<void>(group.all_gather(at::ones({4}))), Error) << "unusable from then on";
        EXPECT_EQ(record.aborts, 1);
      },
      {.deadline = 20ms});
}

// A long forward pass before the operation is no peer that stays away.
TEST(StreamGroup, TheDeadlineBeginsWhenOwnWorkIsDone) {
  run_recorded_ranks(1,
                     [](Group& group, Record& record) {
                       record.stuck = record.not_ready = true;
                       static_cast<void>(group.all_gather(at::ones({4})));
                       ASSERT_TRUE(eventually([&] { return record.looks > 20; }));  // at least 40 ms
                       EXPECT_NO_THROW(group.confirm());
                       record.not_ready = false;
                       EXPECT_EQ(thrown_by([&] { group.confirm(); }).kind(), ErrorKind::kTryAgain);
                     },
                     {.deadline = 1ms});
}

TEST(StreamGroup, StopRequestsAndDeviceErrorsEndIt) {
  std::atomic<bool> stop{false};
  run_recorded_ranks(1,
                     [&](Group& group, Record& record) {
                       record.stuck = true;
                       static_cast<void>(group.all_gather(at::ones({4})));
                       stop = true;
                       EXPECT_EQ(thrown_by([&] { group.confirm(); }).kind(), ErrorKind::kCancelled);
                       EXPECT_EQ(record.aborts, 1);
                     },
                     {.stopped = [&] { return stop.load(); }});
  run_recorded_ranks(1, [&](Group& group, Record& record) {
    record.stuck = true;
    static_cast<void>(group.all_gather(at::ones({4})));
    record.broken = true;
    const Error error = thrown_by([&] { group.confirm(); });
    EXPECT_NE(std::string(error.what()).find("CUDA error"), std::string::npos) << error.what();
  });
}

TEST(StreamGroup, ATransferThatIsGivenUpSpoilsIt) {
  run_recorded_ranks(1, [](Group& group, Record& record) {
    at::Tensor in = at::empty({2});
    group.start({{0, at::ones({2})}}, {{0, in}}, "test").reset();
    EXPECT_THROW(group.confirm(), Error);
    EXPECT_EQ(record.aborts, 1);
  });
}

// The library counts open operations by thread: the next communicator of this one would wait for ever.
TEST(StreamGroup, AnOperationThatIsRefusedIsClosedAllTheSame) {
  run_recorded_ranks(1, [](Group& group, Record& record) {
    record.refuses = true;
    EXPECT_THROW(static_cast<void>(group.all_gather(at::ones({4}))), Error);
    EXPECT_EQ(record.take(), (Calls{"open", "all_gather", "close"}));
    EXPECT_EQ(record.aborts, 1);
    EXPECT_THROW(group.confirm(), Error);
  });
}

TEST(StreamGroup, ConnectingKeepsTheDeadline) {
  class NeverTaken final : public StreamCalls {
   public:
    explicit NeverTaken(int& aborts) : aborts_(aborts) {}
    const char* name() const override { return "never"; }
    bool on_device(const at::Tensor&) const override { return true; }
    Mark open() override { return nullptr; }
    void send(const at::Tensor&, int) override {}
    void receive(const at::Tensor&, int) override {}
    void all_gather(const at::Tensor&, const at::Tensor&) override {}
    void reduce_scatter_sum(const at::Tensor&, const at::Tensor&) override {}
    void all_reduce_sum(const at::Tensor&) override {}
    void broadcast(const at::Tensor&, int) override {}
    void close() override {}
    bool taken() override { return false; }
    Mark mark() override { return nullptr; }
    void follow(const Mark&) override {}
    bool passed(const Mark&) override { return false; }
    void abort() override { ++aborts_; }
    void finish() override {}

   private:
    int& aborts_;
  };
  int aborts = 0;
  NeverTaken calls(aborts);
  EXPECT_THROW(connect(calls, {.deadline = 5ms}), Error);
  EXPECT_EQ(aborts, 1);
}

}  // namespace
}  // namespace trireme::worker::collective
