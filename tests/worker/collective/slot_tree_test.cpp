#include "worker/collective/slot_tree.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <mutex>

#include "common/base/error.h"
#include "tests/worker/collective/support/group_suite.h"
#include "tests/worker/collective/support/threads.h"

namespace trireme::worker::collective {
namespace {

TEST(SlotTree, SubtreesAreAlignedBlocks) {
  EXPECT_EQ(owned_subtrees(8, {0, 8}), (std::vector<SlotRange>{{0, 8}}));
  EXPECT_EQ(owned_subtrees(8, {4, 6}), (std::vector<SlotRange>{{4, 6}}));
  EXPECT_EQ(owned_subtrees(12, {3, 6}), (std::vector<SlotRange>{{3, 4}, {4, 6}}));
  EXPECT_EQ(owned_subtrees(12, {6, 12}), (std::vector<SlotRange>{{6, 8}, {8, 12}}));
  EXPECT_EQ(owned_subtrees(1, {0, 1}), (std::vector<SlotRange>{{0, 1}}));
}

TEST(SlotTree, OwnSlotsCoverEverySlotOnce) {
  for (const std::int64_t slots : {1, 8, 12})
    for (int ranks = 1; ranks <= slots; ++ranks) {
      if (slots % ranks != 0) {
        EXPECT_THROW(own_slots(slots, ranks, 0), Error);
        continue;
      }
      std::int64_t next = 0;
      for (int r = 0; r < ranks; ++r) {
        const auto own = own_slots(slots, ranks, r);
        EXPECT_EQ(own.first, next);
        next = own.last;
      }
      EXPECT_EQ(next, slots);
    }
}

// Sum of test_values over `slots` with W ranks; slots finish in an order that differs by W.
at::Tensor sum_with(int ranks, std::int64_t slots, std::int64_t length) {
  std::mutex mutex;
  at::Tensor result;
  run_ranks(ranks, [&](Group& group) {
    const auto own = own_slots(slots, ranks, group.rank());
    SlotAccumulator accumulator(slots, own);
    for (std::int64_t i = 0; i < own.size(); ++i) {
      const auto slot = own.first + (i * 5 + ranks) % own.size();
      accumulator.add(slot, test_values(length, static_cast<std::uint64_t>(slot)));
    }
    const auto sum = reduce_slots(slots, accumulator.take(), group);
    const std::lock_guard lock(mutex);
    if (result.defined()) {
      EXPECT_TRUE(at::equal(result, sum)) << "ranks disagree";
    }
    result = sum.clone();
  });
  return result;
}

class SlotCounts : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(SlotCounts, EveryNumberOfRanksGivesTheSameBits) {
  const auto slots = GetParam();
  const auto alone = sum_with(1, slots, 10007);
  at::Tensor exact = at::zeros({10007}, at::kDouble);
  for (std::int64_t slot = 0; slot < slots; ++slot)
    exact += test_values(10007, static_cast<std::uint64_t>(slot)).to(at::kDouble);
  EXPECT_LT((alone - exact).abs().max().item<double>(), 1e-2);
  for (int ranks = 2; ranks <= slots; ++ranks)
    if (slots % ranks == 0) {
      EXPECT_TRUE(at::equal(alone, sum_with(ranks, slots, 10007)))
          << slots << " slots, " << ranks << " ranks";
    }
}

INSTANTIATE_TEST_SUITE_P(Slots, SlotCounts, ::testing::Values(1, 4, 6, 7, 8, 12));

TEST(SlotAccumulator, HoldsOneTensorPerOpenSubtree) {
  // In order, the number of open subtrees is that of ones in a binary counter.
  SlotAccumulator accumulator(8, {0, 8});
  for (int slot = 0; slot < 8; ++slot) accumulator.add(slot, at::ones({2}));
  const auto sums = accumulator.take();
  ASSERT_EQ(sums.size(), 1U);
  EXPECT_EQ(sums[0][0].item<float>(), 8);
}

TEST(SlotAccumulator, RefusesToBeTakenEarly) {
  SlotAccumulator accumulator(4, {0, 2});
  accumulator.add(0, at::ones({2}));
  EXPECT_THROW(accumulator.take(), Error);
}

}  // namespace
}  // namespace trireme::worker::collective
