#include "worker/collective/group.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "common/base/error.h"
#include "common/telemetry/metrics.h"
#include "tests/worker/collective/support/group_suite.h"
#include "tests/worker/collective/support/threads.h"
#include "worker/collective/cuda_plugin.h"
#include "worker/collective/metered_group.h"

namespace trireme::worker::collective {
namespace {

using namespace std::chrono_literals;

class LocalGroups : public ::testing::TestWithParam<int> {};

TEST_P(LocalGroups, PassTheSuite) {
  for (const auto& [name, check] : group_checks())
    run_ranks(GetParam(), [&, &name = name, check = check](Group& group) {
      EXPECT_EQ(check(group), "") << name << " at rank " << group.rank();
    });
}

INSTANTIATE_TEST_SUITE_P(Sizes, LocalGroups, ::testing::Values(1, 2, 3, 4, 5, 8));

TEST(LocalGroup, APeerThatDoesNotComeIsNamedWithinTheDeadline) {
  auto groups = make_local_groups(2, {.deadline = 30ms});
  try {
    groups[1]->barrier();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kTryAgain);
    EXPECT_NE(std::string(error.what()).find("barrier at rank 1"), std::string::npos) << error.what();
  }
  EXPECT_THROW(groups[0]->barrier(), Error) << "the gang is spoiled";
}

TEST(LocalGroup, StopRequestsEndTheWait) {
  std::atomic<bool> stop{false};
  auto groups = make_local_groups(2, {.stopped = [&] { return stop.load(); }});
  stop = true;
  at::Tensor in = at::zeros({1});
  try {
    groups[0]->exchange(1, in, in);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
}

TEST(LocalGroup, ARankThatLeavesFreesTheOthers) {
  auto groups = make_local_groups(2);
  groups[0].reset();
  EXPECT_THROW(groups[1]->barrier(), Error);
}

TEST(CudaPlugin, SaysWhatIsMissing) {
  try {
    CudaPlugin plugin(::testing::TempDir());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_NE(std::string(error.what()).find("libtrireme_cuda.so"), std::string::npos);
  }
}

TEST(MeteredGroup, CountsOperationsAndBytes) {
  telemetry::Metrics metrics("", 0);
  auto groups = make_local_groups(1);
  auto group = make_metered(std::move(groups[0]), metrics);
  at::Tensor ones = at::ones({4});
  group->all_reduce_sum(ones);
  group->all_gather(ones);
  const auto text = metrics.exposition();
  EXPECT_NE(text.find("trireme_collective_duration_seconds_count{backend=\"local\",op=\"all_gather\"} 1"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("trireme_collective_bytes_total{op=\"all_reduce_sum\"} 0"), std::string::npos) << text;
}

}  // namespace
}  // namespace trireme::worker::collective
