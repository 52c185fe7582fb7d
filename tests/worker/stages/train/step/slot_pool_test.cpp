#include "worker/stages/train/step/slot_pool.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>

#include "common/base/error.h"

namespace trireme::worker::stages::train {
namespace {

TEST(SlotPool, RunsEveryItemOnceWithTheGivenIntraOpThreads) {
  const int before = at::get_num_threads();
  {
    SlotPool pool(3, 1, {});
    for (int round = 0; round < 50; ++round) {
      std::vector<std::atomic<int>> hits(17);
      pool.for_each(17, [&](std::int64_t i) {
        EXPECT_EQ(at::get_num_threads(), 1);
        ++hits[static_cast<std::size_t>(i)];
      });
      for (const auto& hit : hits) EXPECT_EQ(hit, 1);
    }
    pool.for_each(0, [](std::int64_t) { FAIL(); });
  }
  EXPECT_EQ(at::get_num_threads(), before);
}

TEST(SlotPool, ThrowsTheFirstErrorAndGoesOn) {
  SlotPool pool(2, 1, {});
  EXPECT_THROW(pool.for_each(8,
                             [](std::int64_t i) {
                               if (i == 3) throw Error(ErrorKind::kInvalid, "three");
                             }),
               Error);
  std::atomic<int> ran{0};
  pool.for_each(4, [&](std::int64_t) { ++ran; });
  EXPECT_EQ(ran, 4);
}

TEST(SlotPool, StopsBetweenItems) {
  std::atomic<bool> stop{false};
  std::atomic<int> ran{0};
  SlotPool pool(1, 1, [&] { return stop.load(); });
  try {
    pool.for_each(100, [&](std::int64_t i) {
      ++ran;
      if (i == 2) stop = true;
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
  EXPECT_EQ(ran, 3);
}

}  // namespace
}  // namespace trireme::worker::stages::train
