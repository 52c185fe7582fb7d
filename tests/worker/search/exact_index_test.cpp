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

TEST(ExactIndex, FaultsAreNamed) {
  const ExactIndex index(at::ones({3, 2}));
  EXPECT_THROW(index.search(at::ones({1, 3}), 1), Error);
  EXPECT_THROW(index.search(at::ones({1, 2}), 0), Error);
  EXPECT_THROW(ExactIndex(at::ones({3})), Error);
}

}  // namespace
}  // namespace trireme::worker::search
