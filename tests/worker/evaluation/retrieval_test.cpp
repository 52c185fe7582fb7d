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
