#include "worker/runtime/parallel.h"

#include <atomic>
#include <vector>

#include <gtest/gtest.h>

#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {
namespace {

TEST(ParallelFor, EveryItemOnce) {
  for (const int threads : {0, 1, 2, 7}) {
    std::vector<std::atomic<int>> calls(100);
    std::atomic<std::int64_t> highest{0};
    parallel_for(
        100, threads, nullptr, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; },
        [&](std::int64_t done) {
          if (done == 100) highest = done;
        });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
    EXPECT_EQ(highest, 100);
  }
  parallel_for(0, 4, nullptr, [](std::int64_t) { FAIL(); });
}

TEST(ParallelFor, FirstErrorComesBackAndNoNewItemStarts) {
  std::atomic<int> calls{0};
  EXPECT_THROW(parallel_for(1000000, 2, nullptr,
                            [&](std::int64_t i) {
                              ++calls;
                              if (i == 3) throw Error(ErrorKind::kInvalid, "item 3");
                            }),
               Error);
  EXPECT_LT(calls, 1000000);
}

TEST(ParallelFor, StopIsCancelled) {
  StopRequest stop;
  int calls = 0;
  try {
    parallel_for(10, 1, &stop, [&](std::int64_t i) {
      ++calls;
      if (i == 4) stop.stop();
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
  EXPECT_EQ(calls, 5);
}

}  // namespace
}  // namespace trireme::worker::runtime
