#include <cmath>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "jobs/search/query.h"

namespace trireme::jobs {
namespace {

std::vector<QueryPart> weighted(std::vector<double> weights) {
  std::vector<QueryPart> parts;
  for (const double weight : weights) parts.push_back({.weight = weight, .value = "words"});
  return parts;
}

TEST(QuerySum, IsWeightedAndOfNormOne) {
  const auto sum = unit_sum(weighted({2, -1}), {{1, 0}, {0, 1}});
  EXPECT_NEAR(sum[0], 2 / std::sqrt(5.0), 1e-6);
  EXPECT_NEAR(sum[1], -1 / std::sqrt(5.0), 1e-6);
  EXPECT_THROW(unit_sum(weighted({1, -1}), {{1, 0}, {1, 0}}), Error);    // cancel out
  EXPECT_THROW(unit_sum(weighted({1, 1}), {{1, 0}, {1, 0, 0}}), Error);  // two widths
  EXPECT_THROW(unit_sum(weighted({1}), {{1, std::nanf("")}}), Error);
}

}  // namespace
}  // namespace trireme::jobs
