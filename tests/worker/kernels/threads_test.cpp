#include "worker/kernels/threads.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <barrier>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace trireme::worker::kernels {
namespace {

class Threads : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(2); }
  void TearDown() override { at::set_num_threads(before_); }
  const int before_ = at::get_num_threads();
};

// What falls back to one thread (at::parallel_for without OpenMP) never gets past the barrier: the second
// piece waits for the first.
TEST_F(Threads, PiecesRunAtOnceOnThreadsOfTheirOwn) {
  std::barrier both(2);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  std::vector<int> visits(7);
  std::int64_t pieces = 0;
  over_threads(3, 10, [&](std::int64_t first, std::int64_t last) {
    {
      const std::lock_guard lock(mutex);
      ++pieces;
      seen.insert(std::this_thread::get_id());
      for (std::int64_t i = first; i < last; ++i) ++visits[static_cast<std::size_t>(i - 3)];
      if (last - first == 7) return;  // one piece alone: the expectations below say so
    }
    both.arrive_and_wait();
  });
  EXPECT_EQ(pieces, 2);
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_EQ(visits, std::vector<int>(7, 1));
}

TEST_F(Threads, NothingIsOnePieceOrNone) {
  int calls = 0;
  over_threads(5, 5, [&](std::int64_t, std::int64_t) { ++calls; });
  EXPECT_EQ(calls, 0);
  over_threads(5, 6, [&](std::int64_t first, std::int64_t last) { calls += first == 5 && last == 6; });
  EXPECT_EQ(calls, 1);
}

TEST_F(Threads, AFaultComesBackWhenAllHaveEnded) {
  std::mutex mutex;
  int ended = 0;
  EXPECT_THROW(over_threads(0, 2,
                            [&](std::int64_t first, std::int64_t) {
                              if (first == 0) throw std::runtime_error("the first piece");
                              const std::lock_guard lock(mutex);
                              ++ended;
                            }),
               std::runtime_error);
  EXPECT_EQ(ended, 1);
}

TEST_F(Threads, BlocksAreTheSameHoweverManyThreads) {
  for (const int threads : {1, 2, 5}) {
    std::mutex mutex;
    std::set<std::pair<std::int64_t, std::int64_t>> seen;
    over_blocks(10, 4, threads, [&](std::int64_t first, std::int64_t length) {
      const std::lock_guard lock(mutex);
      EXPECT_EQ(at::get_num_threads(), 1);
      seen.emplace(first, length);
    });
    EXPECT_EQ(seen, (std::set<std::pair<std::int64_t, std::int64_t>>{{0, 4}, {4, 4}, {8, 2}}));
    EXPECT_EQ(at::get_num_threads(), 2) << "put back";
  }
  EXPECT_THROW(over_blocks(9, 1, 3,
                           [](std::int64_t first, std::int64_t) {
                             if (first == 8) throw std::runtime_error("the last");
                           }),
               std::runtime_error);
}

}  // namespace
}  // namespace trireme::worker::kernels
