#include "worker/search/lists.h"

#include <filesystem>
#include <numeric>
#include <set>

#include <unistd.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "worker/search/code_products.h"
#include "worker/search/recall.h"

namespace trireme::worker::search {
namespace {

// Topics with some spread: what lists are for.
at::Tensor topical_rows(std::int64_t rows, std::int64_t width, std::int64_t seed) {
  at::manual_seed(7);
  const auto topic = at::randn({60, width});
  at::manual_seed(static_cast<std::uint64_t>(seed));
  const auto made =
      topic.index_select(0, at::randint(0, 60, {rows}, at::kLong)) + 0.5 * at::randn({rows, width});
  return made / made.norm(2, {1}, true);
}

class ListsTest : public ::testing::Test {
 protected:
  ListsTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~ListsTest() override { std::filesystem::remove_all(folder_); }
  std::vector<RowRange> ranges() const {  // as segments cut them
    return {
        {0, rows_.narrow(0, 0, 1700)}, {1700, rows_.narrow(0, 1700, 1)}, {1701, rows_.narrow(0, 1701, 2299)}};
  }

  const io::Path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-lists-" + std::to_string(::getpid()));
  const io::Path path_ = folder_ / "lists.safetensors";
  const at::Tensor rows_ = topical_rows(4000, 48, 1).to(at::kHalf);
  const std::function<void()> no_poll_ = [] {};
};

TEST_F(ListsTest, AllListsTogetherMissNothing) {
  write_lists(path_, source_of(ranges()), {}, no_poll_);
  const Lists lists(path_, 4000, 48);
  EXPECT_EQ(lists.lists(), 126);
  const ExactIndex exact(ranges());
  const auto queries = topical_rows(20, 48, 2);
  const auto truth = exact.search(queries, 10);
  for (std::int64_t q = 0; q < 20; ++q)
    EXPECT_EQ(ranked_candidates(exact, lists, queries[q], lists.lists(), 10),
              truth[static_cast<std::size_t>(q)]);
  const auto all = lists.candidates(queries[0], lists.lists(), 5000);  // every row lies in exactly one list
  std::set<std::int64_t> seen;
  for (const Hit& hit : all) seen.insert(hit.row);
  EXPECT_EQ(seen.size(), 4000u);
  EXPECT_EQ(all.size(), 4000u);
}

TEST_F(ListsTest, ThePromiseIsMeasured) {
  write_lists(path_, source_of(ranges()), {}, no_poll_);
  const Lists lists(path_, 4000, 48);
  const ExactIndex exact(ranges());
  const auto queries = topical_rows(100, 48, 3);
  const std::vector<std::int64_t> own(100, -1);
  const Promise most = measured_promise(exact, lists, queries, own, 0.95, no_poll_);
  EXPECT_GE(most.recall, 0.95);
  EXPECT_LT(most.probes, lists.lists() / 2);
  const Promise some = measured_promise(exact, lists, queries, own, 0.6, no_poll_);
  EXPECT_LT(some.probes, most.probes);
  const Promise all = measured_promise(exact, lists, queries, own, 1, no_poll_);
  EXPECT_EQ(all.recall, 1);
  EXPECT_EQ(measured_promise(exact, lists, {}, {}, 0.95, no_poll_).probes, lists.lists());
}

TEST_F(ListsTest, TheSameBytesForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  write_lists(path_, source_of(ranges()), {}, no_poll_);
  const std::string bytes = io::read_file(path_);
  at::set_num_threads(4);
  write_lists(path_, source_of({{0, rows_}}), {}, no_poll_);
  at::set_num_threads(threads);
  EXPECT_TRUE(io::read_file(path_) == bytes);
}

TEST_F(ListsTest, AnotherIndexesListsAreRefused) {
  write_lists(path_, source_of(ranges()), {}, no_poll_);
  EXPECT_THROW(Lists(path_, 3999, 48), Error);
  EXPECT_THROW(Lists(path_, 4000, 64), Error);
}

// What lies within a bound is found whatever rounding does to it, and little else.
TEST_F(ListsTest, WithinABoundNothingIsMissed) {
  write_lists(path_, source_of(ranges()), {.lists = 50}, no_poll_);
  const Lists lists(path_, 4000, 48);
  EXPECT_EQ(lists.lists(), 50);
  const auto queries = topical_rows(30, 48, 5);
  const ExactIndex exact(ranges());
  for (std::int64_t q = 0; q < 30; ++q) {
    const auto offered = lists.within(queries[q], 50, 0.8);
    const std::set<std::int64_t> within(offered.begin(), offered.end());
    EXPECT_EQ(within.size(), offered.size());
    std::size_t wanted = 0, nearly = 0;
    const auto all = exact.search(queries.narrow(0, q, 1), 4000);
    for (const Hit& hit : all[0]) {
      wanted += hit.score >= 0.8;
      nearly += hit.score >= 0.7;
      EXPECT_TRUE(hit.score < 0.8 || within.contains(hit.row)) << hit.score;
    }
    EXPECT_GT(wanted, 0u);
    EXPECT_LE(within.size(), nearly);
  }
  const auto list_of = lists.list_of_rows();
  for (const std::int64_t row : {0, 1700, 3999})
    EXPECT_EQ(lists.rank_of(rows_[row].to(at::kFloat), list_of[static_cast<std::size_t>(row)]), 0);
}

// A sample says which scores are good enough; what it lets through is exactly the best.
TEST_F(ListsTest, TheBestOfManyRowsAreThoseOfAll) {
  const auto rows = topical_rows(12000, 32, 11).to(at::kHalf), queries = topical_rows(20, 32, 12);
  write_lists(path_, source_of({{0, rows}}), {.lists = 40}, no_poll_);
  const Lists lists(path_, 12000, 32);
  for (std::int64_t q = 0; q < 20; ++q) {
    const auto all = lists.candidates(queries[q], 40, 12000);
    ASSERT_EQ(all.size(), 12000u);
    for (const std::int64_t wanted : {1, 100, 3000}) {
      const auto best = lists.candidates(queries[q], 40, wanted);
      EXPECT_TRUE(std::equal(best.begin(), best.end(), all.begin(), all.begin() + wanted));
    }
  }
}

// Rows and queries that lie in different directions of few dimensions: codes have few numbers, chosen for
// their products, and promise as much.
TEST_F(ListsTest, CodesHaveAsManyNumbersAsTheQueriesNeed) {
  at::manual_seed(9);
  const auto spectrum = at::pow(at::arange(1, 129).to(at::kFloat), -0.7);
  const auto turned = std::get<0>(at::linalg_qr(at::randn({128, 128})));
  const auto drawn = [&](std::int64_t rows) {
    const auto made = (at::randn({rows, 128}) * spectrum).matmul(turned) + 0.2;
    return made / made.norm(2, {1}, true);
  };
  const auto rows = drawn(3000).to(at::kHalf), queries = drawn(1000);
  write_lists(path_, source_of({{0, rows}}), {.queries_QD = queries.narrow(0, 0, 900)}, no_poll_);
  const Lists lists(path_, 3000, 128);
  EXPECT_EQ(lists.numbers() % 16, 0);
  EXPECT_LE(lists.numbers(), 96);
  EXPECT_TRUE(checkpoint::SafetensorsFile(path_).contains("rest"));  // not all of them are read of every row
  EXPECT_LT(io::read_file(path_).size(), 3000u * 120);
  const ExactIndex exact(rows);
  const auto asked = queries.narrow(0, 900, 100);
  const auto promise =
      measured_promise(exact, lists, asked, std::vector<std::int64_t>(100, -1), 0.95, no_poll_);
  EXPECT_GE(promise.recall, 0.95);
  EXPECT_LT(promise.probes, lists.lists());
  EXPECT_THROW(lists.within(asked[0], 3, 0.5), Error);
  const int threads = at::get_num_threads();
  const std::string bytes = io::read_file(path_);
  at::set_num_threads(threads == 1 ? 3 : 1);
  write_lists(path_, source_of({{0, rows}}), {.queries_QD = queries.narrow(0, 0, 900)}, no_poll_);
  at::set_num_threads(threads);
  EXPECT_TRUE(io::read_file(path_) == bytes);
}

TEST(CodeProducts, AreThoseOfTheRoundedRows) {
  at::manual_seed(5);
  constexpr std::int64_t kRows = 91, kBlocks = 6, kWidth = 52;  // a whole turn of four blocks, and two more
  const auto rows = at::randn({kRows, kWidth}), query = at::randn({kWidth});
  std::vector<std::uint8_t> blocks(kBlocks * kBlockRows * kWidth, 128), code(kRows * kWidth);
  std::vector<std::int8_t> query_code(kWidth);
  std::vector<float> scale, score(kBlocks * kBlockRows);
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::uint8_t* const own = code.data() + r * kWidth;
    scale.push_back(encode_row(rows[r].contiguous().data_ptr<float>(), kWidth, own));
    for (std::int64_t i = 0; i < kWidth; ++i)
      blocks[static_cast<std::size_t>(code_place(r, i, kWidth))] = own[i];
  }
  const float query_scale = encode_query(query.data_ptr<float>(), kWidth, query_code.data());
  const QueryCode asked{query_code.data(), std::accumulate(query_code.begin(), query_code.end(), 0),
                        query_scale};
  block_scores(blocks.data(), kRows, kWidth, asked, scale.data(), score.data());
  for (std::int64_t r = 0; r < kRows; ++r) {
    const float own = scale[static_cast<std::size_t>(r)];
    std::int32_t expected = 0;
    for (std::int64_t i = 0; i < kWidth; ++i)
      expected +=
          (code[static_cast<std::size_t>(r * kWidth + i)] - 128) * query_code[static_cast<std::size_t>(i)];
    EXPECT_EQ(row_product(code.data() + r * kWidth, kWidth, asked), expected);
    EXPECT_FLOAT_EQ(score[static_cast<std::size_t>(r)], static_cast<float>(expected) * query_scale * own);
    EXPECT_NEAR(score[static_cast<std::size_t>(r)], rows[r].dot(query).item<float>(), 0.3);
  }
  const std::vector<float> zeros(kWidth);
  EXPECT_EQ(encode_row(zeros.data(), kWidth, code.data()), 0);
  EXPECT_EQ(code[0], 128);
}

}  // namespace
}  // namespace trireme::worker::search
