#include "worker/evaluation/retrieval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::evaluation {
namespace {

// A score matrix [N, M] as embeddings: image = scores, text = identity.
Metrics recall_of(const at::Tensor& score_NM, const at::Tensor& owner_M, const std::vector<std::int64_t>& k) {
  return retrieval_recall(score_NM, at::eye(score_NM.size(1)), owner_M, k);
}

at::Tensor pairs(std::int64_t captions) {
  return at::arange(captions).div(2, "floor").to(at::kLong);
}

at::Tensor random_tensor(std::vector<std::int64_t> shape, std::uint64_t seed, double coarse = 0) {
  RandomStream random(seed, RandomPurpose::kTest);
  auto out = at::empty(shape, at::kFloat);
  float* data = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const double value = random.normal();
    data[i] = static_cast<float>(coarse > 0 ? std::round(value / coarse) * coarse : value);
  }
  return out;
}

TEST(Retrieval, GoldenOfMethods10_8) {
  const auto score =
      at::tensor({.9, .2, .3, .1, .0, .5, .8, .1, .4, .7, .6, .2, .1, .3, .2, .0, .35, .05}, at::kFloat)
          .reshape({3, 6});
  const Metrics metrics = recall_of(score, pairs(6), {1, 2, 3});
  EXPECT_NEAR(metric(metrics, "text_retrieval_recall@1"), 2.0 / 3, 1e-12);
  EXPECT_EQ(metric(metrics, "text_retrieval_recall@2"), 1);
  EXPECT_EQ(metric(metrics, "text_retrieval_recall@3"), 1);
  EXPECT_EQ(metric(metrics, "image_retrieval_recall@1"), 0.5);
  EXPECT_NEAR(metric(metrics, "image_retrieval_recall@2"), 5.0 / 6, 1e-12);
  EXPECT_EQ(metric(metrics, "image_retrieval_recall@3"), 1);
  EXPECT_NEAR(metric(metrics, "mean_recall@1"), (2.0 / 3 + 0.5) / 2, 1e-12);
}

// big_vision image_text_retrieval_test.py; distances, so scores are their negatives.
at::Tensor big_vision_distances() {
  return at::tensor({.8, .8, .1, .5, .1, .2, .5, .1, .5, .4, .0, .0, .4, .2, .6, .4,
                     .5, .4, .1, .5, .0, .8, .8, .3, .5, .4, .1, .5, .4, .2, .3, .3},
                    at::kFloat)
      .reshape({4, 8});
}

// At k = 5 and 10 the published values need k above the number of images: ranks are compared directly.
double share_below(const at::Tensor& rank, std::int64_t k) {
  return (rank < k).to(at::kDouble).mean().item<double>();
}

TEST(Retrieval, BigVisionImageToText) {
  const auto ranks = retrieval_ranks(-big_vision_distances(), at::eye(8), pairs(8));
  EXPECT_EQ(share_below(ranks.image_to_text_Q, 1), 0.5);
  EXPECT_EQ(share_below(ranks.image_to_text_Q, 5), 0.75);
  EXPECT_EQ(share_below(ranks.image_to_text_Q, 10), 1.0);
}

TEST(Retrieval, BigVisionTextToImage) {
  auto distance = big_vision_distances();
  distance.index_put_({at::tensor({0}), at::tensor({6})}, at::tensor({0.1f}));
  const auto ranks = retrieval_ranks(-distance, at::eye(8), pairs(8));
  EXPECT_EQ(share_below(ranks.text_to_image_M, 1), 0.375);
  EXPECT_EQ(share_below(ranks.text_to_image_M, 5), 1.0);
  EXPECT_EQ(share_below(ranks.text_to_image_M, 10), 1.0);
}

TEST(Retrieval, PerfectScores) {
  auto distance = random_tensor({4, 8}, 1).abs() + 0.1;
  for (std::int64_t j = 0; j < 8; ++j) distance[j / 2][j] = 0;
  for (const auto& [name, value] : recall_of(-distance, pairs(8), {1, 4})) EXPECT_EQ(value, 1) << name;
}

// Oracle: stable sort of every row, first position that holds a positive.
std::vector<std::int64_t> sorted_ranks(const at::Tensor& score, const at::Tensor& positive) {
  const auto order = std::get<1>(score.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
  std::vector<std::int64_t> ranks;
  for (std::int64_t row = 0; row < score.size(0); ++row) {
    for (std::int64_t place = 0; place < score.size(1); ++place) {
      if (positive[row][order[row][place].item<std::int64_t>()].item<bool>()) {
        ranks.push_back(place);
        break;
      }
    }
  }
  return ranks;
}

TEST(Retrieval, EqualsStableSortForAnyTileWithTiesAndUnevenCaptions) {
  for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
    RandomStream random(seed, RandomPurpose::kTest, 9);
    const std::int64_t images = 5 + static_cast<std::int64_t>(random.below(9));
    const std::int64_t texts = 10 + static_cast<std::int64_t>(random.below(20));
    const auto owner = at::empty({texts}, at::kLong);
    for (std::int64_t j = 0; j < texts; ++j) {
      owner[j] = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(images)));
    }
    const auto score = random_tensor({images, texts}, seed, /*coarse=*/0.5);
    const auto positive = owner.unsqueeze(0) == at::arange(images).unsqueeze(1);
    const auto whole = retrieval_ranks(score, at::eye(texts), owner);
    const auto text_oracle = sorted_ranks(score.t().contiguous(), positive.t());
    const auto image_oracle = sorted_ranks(score, positive);
    ASSERT_EQ(whole.image_to_text_Q.size(0), static_cast<std::int64_t>(image_oracle.size()));
    EXPECT_TRUE(at::equal(whole.text_to_image_M, at::tensor(text_oracle)));
    EXPECT_TRUE(at::equal(whole.image_to_text_Q, at::tensor(image_oracle)));
    const auto tiled = retrieval_ranks(score, at::eye(texts), owner, /*tile_elements=*/17);
    EXPECT_TRUE(at::equal(whole.text_to_image_M, tiled.text_to_image_M));
    EXPECT_TRUE(at::equal(whole.image_to_text_Q, tiled.image_to_text_Q));
  }
}

// The rank of the best placed positive among all others but the query, by looking at each.
std::int64_t looked_up(const at::Tensor& score_C, const std::vector<std::int64_t>& positives,
                       std::int64_t self) {
  std::int64_t best = std::numeric_limits<std::int64_t>::max();
  for (const auto p : positives) {
    std::int64_t before = 0;
    for (std::int64_t c = 0; c < score_C.size(0); ++c) {
      const auto other = score_C[c].item<float>(), own = score_C[p].item<float>();
      before += c != self && c != p && (other > own || (other == own && c < p)) ? 1 : 0;
    }
    best = std::min(best, before);
  }
  return best;
}

TEST(Retrieval, AmongItsOwnKindAQueryIsNoCandidate) {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const auto owner = at::tensor({0, 0, 1, 2, 2, 2, 3, 3}, at::kLong);
    const auto text = random_tensor({8, 3}, seed, /*coarse=*/0.5);
    const auto positives = other_captions(owner);
    EXPECT_EQ(positives.of_query[4], (std::vector<std::int64_t>{3, 5}));
    EXPECT_TRUE(positives.of_query[2].empty());  // a caption alone asks nothing
    const auto score = text.matmul(text.t());
    std::vector<std::int64_t> expected;
    std::int64_t tied = 0;
    for (std::int64_t q = 0; q < 8; ++q) {
      const auto& own = positives.of_query[static_cast<std::size_t>(q)];
      if (own.empty()) continue;
      expected.push_back(looked_up(score[q], own, q));
      float best = -1e9F;
      for (const auto p : own) best = std::max(best, score[q][p].item<float>());
      bool met = false;
      for (std::int64_t c = 0; c < 8; ++c)
        met = met || (c != q && std::find(own.begin(), own.end(), c) == own.end() &&
                      score[q][c].item<float>() == best);
      tied += met ? 1 : 0;
    }
    for (const std::int64_t tile : {std::int64_t{9}, std::int64_t{1} << 20}) {
      const auto ranked = ranks_among(text, text, positives, tile);
      EXPECT_TRUE(at::equal(ranked.rank_Q, at::tensor(expected))) << seed << ranked.rank_Q;
      EXPECT_EQ(ranked.tied, tied) << seed;
    }
    const auto metrics = recall_among("t", text, text, positives, {1, 7});
    EXPECT_EQ(metric(metrics, "t@7"), 1);
    EXPECT_THROW(recall_among("t", text, text, positives, {8}), Error);  // 7 candidates
    EXPECT_THROW(recall_among("t", text, text, other_captions(at::arange(8)), {1}), Error);
  }
}

TEST(Retrieval, TiesAreCountedOncePerQuery) {
  // Image 0 and 1 are one; both captions of image 2 are met by nothing.
  const auto image = at::tensor({1., 0., 1., 0., 0., 1.}, at::kFloat).view({3, 2});
  const auto text = at::tensor({1., 0., 1., 0., 0., 1., 0., 1.}, at::kFloat).view({4, 2});
  std::int64_t tied = 0;
  retrieval_recall(image, text, at::tensor({0, 1, 2, 2}, at::kLong), {1}, &tied);
  EXPECT_EQ(tied, 4);  // two captions see two equal images, two images an equal caption of the other
  const auto nan = at::full({3, 2}, std::numeric_limits<float>::quiet_NaN());
  const auto missed = retrieval_recall(nan, text, at::tensor({0, 1, 2, 2}, at::kLong), {1});
  EXPECT_EQ(metric(missed, "image_retrieval_recall@1"), 0);
  EXPECT_EQ(metric(missed, "text_retrieval_recall@1"), 0);
}

TEST(Retrieval, RandomScoresComeNearChance) {
  const std::int64_t images = 200;
  const auto owner = at::arange(5 * images).div(5, "floor").to(at::kLong);
  const auto metrics =
      retrieval_recall(random_tensor({images, 16}, 5), random_tensor({5 * images, 16}, 6), owner, {1, 10});
  const auto chance = retrieval_chance(images, owner, {1, 10});
  EXPECT_EQ(metric(chance, "image_retrieval_recall@10"), 0.05);
  EXPECT_NEAR(metric(chance, "text_retrieval_recall@1"), 1.0 / images, 1e-12);
  EXPECT_NEAR(metric(metrics, "image_retrieval_recall@10"), 0.05, 0.03);
  EXPECT_NEAR(metric(metrics, "text_retrieval_recall@10"), metric(chance, "text_retrieval_recall@10"), 0.05);
}

TEST(Retrieval, NanIsAMiss) {
  const auto image = at::full({4, 3}, std::numeric_limits<float>::quiet_NaN());
  const auto metrics = retrieval_recall(image, at::ones({8, 3}), pairs(8), {1, 3});
  for (const auto& [name, value] : metrics) EXPECT_EQ(value, 0) << name;
}

TEST(Retrieval, FaultsAreNamed) {
  const auto image = at::rand({3, 4}), text = at::rand({6, 4});
  EXPECT_THROW(retrieval_recall(image, text, pairs(6), {4}), Error);  // k over the images
  EXPECT_THROW(retrieval_recall(image, text, pairs(6), {0}), Error);
  EXPECT_THROW(retrieval_recall(image, text, pairs(6) + 1, {1}), Error);  // an owner outside
  EXPECT_THROW(retrieval_recall(image, at::rand({6, 5}), pairs(6), {1}), Error);
  EXPECT_THROW(retrieval_ranks(at::rand({0, 4}), at::rand({0, 4}), at::empty({0}, at::kLong)), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation
