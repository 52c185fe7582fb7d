#include "worker/collective/gang_start.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "tests/support/eventually.h"
#include "tests/worker/collective/support/recorded_ranks.h"

namespace trireme::worker::collective {
namespace {

TEST(GangStart, DevicesOfDifferentKindsAreNamedOnEveryRank) {
  const std::vector<std::string> kinds{"NVIDIA H200", "NVIDIA H200", "NVIDIA A100-SXM4-80GB", "NVIDIA H200"};
  run_ranks(4, [&](Group& group) {
    EXPECT_EQ(mixed_kinds(group, kinds[static_cast<std::size_t>(group.rank())]),
              "the gang's devices are of different kinds ('NVIDIA H200' from rank 0, 'NVIDIA A100-SXM4-80GB' "
              "from rank 2): the slowest sets the pace");
    EXPECT_EQ(mixed_kinds(group, "NVIDIA H200"), "");
    EXPECT_NE(mixed_kinds(group, group.rank() == 3 ? "cpu" : "NVIDIA H200").find("'cpu' from rank 3"),
              std::string::npos);
    EXPECT_EQ(mixed_kinds(group, group.rank() == 1 ? "" : "NVIDIA H200"), "") << "not known is no other";
    EXPECT_EQ(mixed_kinds(group, std::string(500, 'x')), "") << "longer than what travels";
  });
}

TEST(GangStart, OneSumOverTheDevicesIsTried) {
  run_recorded_ranks(3, [](Group& group, Record& record) {
    try_group(group, "cpu");
    const auto calls = record.take();
    EXPECT_EQ(std::count(calls.begin(), calls.end(), "all_reduce_sum"), 1);
  });
  run_ranks(2, [](Group& group) { EXPECT_NO_THROW(try_group(group, "cpu")); });  // none of its own
}

TEST(GangStart, ASumThatComesOutWrongIsAFaultByName) {
  run_recorded_ranks(2, [](Group& group, Record& record) {
    record.wrong_sums = group.rank() == 1;
    std::string what;
    try {
      try_group(group, "cpu");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
      what = error.what();
    }
    if (group.rank() == 1)
      EXPECT_NE(what.find("a sum over cpu and its peers comes out wrong"), std::string::npos) << what;
    else
      EXPECT_EQ(what, "");
  });
}

TEST(GangStart, AnErrorOfTheDeviceEndsIt) {
  run_recorded_ranks(1, [](Group& group, Record& record) {
    record.broken = true;
    std::string what;
    EXPECT_TRUE(trireme::testing::eventually([&] {
      try {
        try_group(group, "cpu");
      } catch (const Error& error) {
        what = error.what();
      }
      return !what.empty();
    }));
    EXPECT_NE(what.find("CUDA error"), std::string::npos) << what;
  });
}

}  // namespace
}  // namespace trireme::worker::collective
