#include "worker/runtime/batches.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>

#include "common/base/error.h"

namespace trireme::worker::runtime {
namespace {

TEST(Batches, EverySampleOnceInOrderWithProgressInSamples) {
  Samples samples(23);
  std::iota(samples.begin(), samples.end(), 100);
  for (const int threads : {1, 3}) {
    std::atomic<std::int64_t> highest{0};
    TaskContext context;
    context.threads = threads;
    context.progress = [&](std::int64_t done, std::int64_t total) {
      EXPECT_EQ(total, 23);
      EXPECT_LE(done, total);
      for (auto was = highest.load(); was < done && !highest.compare_exchange_weak(was, done);) continue;
    };
    Samples all;
    for (const auto& part : by_batches(samples, 5, context, [](const Samples& some) { return some; })) {
      EXPECT_LE(part.size(), 5u);
      all.insert(all.end(), part.begin(), part.end());
    }
    EXPECT_EQ(all, samples);
    EXPECT_EQ(highest, 23);
  }
}

TEST(Batches, EachThreadComputesOnOneCoreAndTheCallersCountComesBack) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  TaskContext context;
  context.threads = 2;
  const auto counts =
      by_batches(Samples(8), 1, context, [](const Samples&) { return at::get_num_threads(); });
  EXPECT_EQ(counts, std::vector<int>(8, 1));
  EXPECT_EQ(at::get_num_threads(), 2);
  EXPECT_THROW(by_batches(Samples(8), 3, context,
                          [](const Samples&) -> int { throw Error(ErrorKind::kInvalid, "bad"); }),
               Error);
  EXPECT_EQ(at::get_num_threads(), 2);
  at::set_num_threads(before);
}

TEST(Batches, NothingToDo) {
  TaskContext context;
  EXPECT_TRUE(by_batches({}, 4, context, [](const Samples&) { return 1; }).empty());
}

}  // namespace
}  // namespace trireme::worker::runtime
