#include "worker/search/exact_index.h"

#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::search {
namespace {

TEST(ExactIndex, EqualsStableSortForAnyTile) {
  at::manual_seed(1);
  // Whole numbers: scores are exact and full of ties.
  const auto rows = at::randint(-2, 3, {101, 5}, at::kFloat),
             queries = at::randint(-2, 3, {7, 5}, at::kFloat);
  const auto [score, order] = queries.matmul(rows.t()).sort(/*stable=*/true, 1, /*descending=*/true);
  const ExactIndex index(rows);
  for (const std::int64_t tile : {1, 7, 50, 101, 1000}) {
    for (const std::int64_t k : {1, 10, 101, 200}) {
      const auto hits = index.search(queries, k, tile);
      for (std::int64_t q = 0; q < 7; ++q) {
        const auto& found = hits[static_cast<std::size_t>(q)];
        ASSERT_EQ(found.size(), static_cast<std::size_t>(std::min<std::int64_t>(k, 101)));
        for (std::size_t place = 0; place < found.size(); ++place) {
          const auto at = static_cast<std::int64_t>(place);
          ASSERT_EQ(found[place], (Hit{order[q][at].item<std::int64_t>(), score[q][at].item<float>()}));
        }
      }
    }
  }
}

TEST(ExactIndex, OwnRowComesFirst) {
  at::manual_seed(2);
  auto rows = at::randn({500, 16});
  rows = rows / rows.norm(2, {1}, true);
  const auto hits = ExactIndex(rows).search(rows, 1, 64);
  for (std::size_t i = 0; i < hits.size(); ++i) EXPECT_EQ(hits[i][0].row, static_cast<std::int64_t>(i));
}

TEST(ExactIndex, NanComesLastAndEmptyIsEmpty) {
  auto rows = at::ones({3, 2});
  rows[0][0] = std::numeric_limits<float>::quiet_NaN();
  const auto hits = ExactIndex(rows).search(-at::ones({1, 2}), 3);
  EXPECT_EQ(hits[0][2].row, 0);
  EXPECT_TRUE(ExactIndex(at::empty({0, 2})).search(at::ones({1, 2}), 3)[0].empty());
}

TEST(ExactIndex, ScoresDependOnNothingElse) {
  at::manual_seed(3);
  const auto rows = at::randn({3000, 64}), queries = at::randn({9, 64});
  const ExactIndex index(rows);
  const auto together = index.search(queries, 20);
  for (std::int64_t q = 0; q < 9; ++q)
    for (const std::int64_t tile : {64, 333, 4096})
      EXPECT_EQ(index.search(queries.narrow(0, q, 1), 20, tile)[0], together[static_cast<std::size_t>(q)]);
  std::vector<std::int64_t> some = {5, 2999, 0};
  const auto scores = index.scores(queries[4], some);
  const auto all = index.search(queries.narrow(0, 4, 1), 3000);
  for (const Hit& hit : all[0])
    for (std::size_t i = 0; i < some.size(); ++i)
      if (hit.row == some[i]) {
        EXPECT_EQ(hit.score, scores[i]);
      }
}

TEST(ExactIndex, RangesWithHolesAndMasks) {
  at::manual_seed(4);
  const auto rows = at::randn({100, 32}).to(at::kHalf);
  const ExactIndex whole(rows);
  const ExactIndex holed(std::vector<RowRange>{{0, rows.narrow(0, 0, 30)}, {60, rows.narrow(0, 60, 40)}});
  std::vector<std::uint8_t> allowed(100, 1);
  for (std::size_t i = 30; i < 60; ++i) allowed[i] = 0;
  const auto query = at::randn({2, 32});
  EXPECT_EQ(holed.search(query, 100), whole.search(query, 100, 16, &allowed));
  EXPECT_EQ(holed.size(), 70);
  EXPECT_FALSE(holed.row(45).defined());
  EXPECT_TRUE(holed.row(60).equal(rows[60].to(at::kFloat)));
  EXPECT_EQ(holed.scores(query[0], {45})[0], -std::numeric_limits<float>::infinity());
  EXPECT_THROW(ExactIndex(std::vector<RowRange>{{5, rows}, {0, rows}}), Error);
}

TEST(ExactIndex, FaultsAreNamed) {
  const ExactIndex index(at::ones({3, 2}));
  EXPECT_THROW(index.search(at::ones({1, 3}), 1), Error);
  EXPECT_THROW(index.search(at::ones({1, 2}), 0), Error);
  EXPECT_THROW(ExactIndex(at::ones({3})), Error);
}

}  // namespace
}  // namespace trireme::worker::search
