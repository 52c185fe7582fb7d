#include "worker/evaluation/rank_correlation.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::evaluation {
namespace {

// The same as in tests/oracles/record_rank_correlation.py, which has scipy's numbers.
struct Pairs {
  std::vector<std::int64_t> query;
  std::vector<double> score, coarse, rating;
};
Pairs pairs() {
  Pairs made;
  for (int i = 0; i < 400; ++i) {
    made.query.push_back(i * 7 % 60);
    made.score.push_back(std::sin(1.7 * i));
    made.coarse.push_back(std::nearbyint(3 * std::sin(1.7 * i)));
    made.rating.push_back(std::nearbyint(10 * (2.5 + 2.5 * std::sin(1.7 * i + .9 * std::cos(i)))) / 10);
  }
  return made;
}

TEST(RankCorrelation, EqualsScipyWithTies) {
  EXPECT_NEAR(spearman({.1, .4, .35, .8, .2, .4}, {0, 3, 2, 5, 1, 1}), .8382352941, 1e-10);
  const Pairs made = pairs();
  EXPECT_NEAR(spearman(made.score, made.rating), 0.7930026507039426, 1e-12);
  EXPECT_NEAR(spearman(made.coarse, made.rating), 0.7933943937393708, 1e-12);
  EXPECT_NEAR(spearman({3, 1, 2}, {-3, -1, -2}), -1, 1e-12);
}

TEST(RankCorrelation, TheBootstrapEqualsOneOfScipyAndNumpy) {
  const Pairs made = pairs();
  const Bootstrap found = bootstrapped_spearman(made.query, made.score, made.rating, 0, 4000);
  EXPECT_NEAR(found.mean, 0.77374617, 5 * 0.0508 / std::sqrt(4000.0));
  EXPECT_NEAR(found.deviation, 0.05080899, 0.003);
  const Bootstrap again = bootstrapped_spearman(made.query, made.score, made.rating, 0, 4000);
  EXPECT_EQ(found.mean, again.mean);
  EXPECT_NE(found.mean, bootstrapped_spearman(made.query, made.score, made.rating, 1, 4000).mean);
  // One pair per query and all of one order: whatever is drawn, the order is right.
  std::vector<std::int64_t> query;
  std::vector<double> score, rating;
  for (int i = 0; i < 25; ++i) query.push_back(i), score.push_back(i), rating.push_back(i * i);
  const Bootstrap perfect = bootstrapped_spearman(query, score, rating, 3);
  EXPECT_NEAR(perfect.mean, 1, 1e-12);
  EXPECT_NEAR(perfect.deviation, 0, 1e-12);
}

TEST(RankCorrelation, WhatSaysNothingIsRefused) {
  EXPECT_THROW(spearman({1, 1, 1}, {1, 2, 3}), Error);
  EXPECT_THROW(spearman({1, 2, 3}, {2, 2, 2}), Error);
  EXPECT_THROW(spearman({1}, {1}), Error);
  EXPECT_THROW(spearman({1, 2}, {1, 2, 3}), Error);
  EXPECT_THROW(spearman({1, std::numeric_limits<double>::quiet_NaN()}, {1, 2}), Error);
  EXPECT_THROW(bootstrapped_spearman({0, 1, 1, 2}, {1, 2, 3, 4}, {1, 2, 3, 4}, 0), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation
