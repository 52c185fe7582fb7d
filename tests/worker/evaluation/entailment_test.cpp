#include "worker/evaluation/label_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::evaluation {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Entailment, NoOtherPairOfThresholdsIsBetter) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream random(seed, RandomPurpose::kTest);
    std::vector<double> score;
    std::vector<std::int64_t> label;
    for (std::uint64_t i = 0, count = 1 + random.below(12); i < count; ++i) {
      score.push_back(static_cast<double>(random.below(6)));  // with ties
      label.push_back(static_cast<std::int64_t>(random.below(3)));
    }
    double best = 0;
    for (double low = -0.5; low <= 6; low += 1)
      for (double high = low; high <= 6; high += 1)
        best = std::max(best, threshold_accuracy({high, low}, score, label));
    const Thresholds chosen = choose_thresholds(score, label);
    EXPECT_GE(chosen.entailment, chosen.contradiction);
    EXPECT_NEAR(threshold_accuracy(chosen, score, label), best, 1e-12) << seed;
  }
}

TEST(Entailment, ThresholdsLieBetweenScores) {
  const Thresholds chosen = choose_thresholds({.9, .8, .5, .4, .1, .0}, {0, 0, 1, 1, 2, 2});
  EXPECT_NEAR(chosen.entailment, .65, 1e-12);
  EXPECT_NEAR(chosen.contradiction, .25, 1e-12);
  EXPECT_EQ(chosen.label(.7), 0);
  EXPECT_EQ(chosen.label(.3), 1);
  EXPECT_EQ(chosen.label(.2), 2);
  EXPECT_EQ(choose_thresholds({.5, .6}, {1, 1}).entailment, kInfinity);
}

TEST(Entailment, FaultsAreNamed) {
  EXPECT_THROW(choose_thresholds({}, {}), Error);
  EXPECT_THROW(choose_thresholds({1}, {3}), Error);
  EXPECT_THROW(choose_thresholds({std::nan("")}, {0}), Error);
  EXPECT_THROW(threshold_accuracy({1, 0}, {1, 2}, {0}), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation
