#include "common/base/random.h"

#include <gtest/gtest.h>

#include <set>

namespace trireme {
namespace {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Philox4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Philox4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Philox4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, DependsOnEveryPartOfItsKey) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed : {1, 2})
    for (auto purpose : {RandomPurpose::kAugment, RandomPurpose::kTest})
      for (std::uint64_t a : {0, 1})
        for (std::uint32_t b : {0U, 1U}) seen.insert(RandomStream(seed, purpose, a, b).next_u64());
  EXPECT_EQ(seen.size(), 16U);
  EXPECT_EQ(RandomStream(1, RandomPurpose::kTest).next_u64(),
            RandomStream(1, RandomPurpose::kTest).next_u64());
}

TEST(RandomStream, BelowStaysBelowAndReachesEverything) {
  RandomStream random(7, RandomPurpose::kTest);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.below(10));
  EXPECT_EQ(seen.size(), 10U);
  EXPECT_EQ(*seen.rbegin(), 9U);
}

TEST(RandomStream, MomentsOfTheDistributions) {
  RandomStream random(7, RandomPurpose::kTest);
  double sum = 0, normal_sum = 0, normal_squares = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    sum += random.uniform();
    const double z = random.normal();
    normal_sum += z;
    normal_squares += z * z;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(normal_sum / kDraws, 0, 0.01);
  EXPECT_NEAR(normal_squares / kDraws, 1, 0.02);
}

}  // namespace
}  // namespace trireme
