// Every number is also scikit-learn's or CLIP_benchmark's on the same rows
// (tests/oracles/check_evaluation.py).
#include "worker/evaluation/label_metrics.h"

#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "worker/evaluation/retrieval.h"
#include "worker/evaluation/zero_shot.h"

namespace trireme::worker::evaluation {
namespace {

// The oracle has the same: ((7 i + 3 j + i i j) mod 23) / 23.
at::Tensor scores(std::int64_t rows, std::int64_t columns) {
  const auto i = at::arange(rows, at::kLong).unsqueeze(1), j = at::arange(columns, at::kLong).unsqueeze(0);
  return ((7 * i + 3 * j + i * i * j).remainder(23)).to(at::kDouble) / 23;
}

at::Tensor truths(std::int64_t rows, std::int64_t columns) {
  const auto i = at::arange(rows, at::kLong).unsqueeze(1), j = at::arange(columns, at::kLong).unsqueeze(0);
  return (5 * i + 2 * j + i * j).remainder(4) == 0;
}

at::Tensor bools(std::initializer_list<int> values) {
  return at::tensor(std::vector<std::int64_t>(values.begin(), values.end())).to(at::kBool);
}

TEST(LabelMetrics, AveragePrecisionIsClipBenchmarks) {
  const auto precision = average_precision(scores(17, 3), truths(17, 3));
  // The definition: the mean over the positives of the precision at their rank.
  for (std::int64_t c = 0; c < 3; ++c) {
    double sum = 0;
    std::int64_t positives = 0;
    const auto order = scores(17, 3).select(1, c).argsort(true, 0, true);
    for (std::int64_t rank = 0; rank < 17; ++rank)
      if (truths(17, 3)[order[rank].item<std::int64_t>()][c].item<bool>())
        sum += static_cast<double>(++positives) / static_cast<double>(rank + 1);
    EXPECT_NEAR(precision[c].item<double>(), sum / static_cast<double>(positives), 1e-12) << c;
  }
  const auto none = average_precision(at::ones({4, 1}), at::zeros({4, 1}, at::kBool));
  EXPECT_EQ(none[0].item<double>(), 0);  // a class without a positive counts as 0
  EXPECT_EQ(
      average_precision(at::tensor({3.0, 2.0, 1.0}).unsqueeze(1), bools({true, true, false}).unsqueeze(1))[0]
          .item<double>(),
      1);
}

TEST(LabelMetrics, RocAucCountsTiesByHalf) {
  const auto score = at::tensor({0.1, 0.4, 0.35, 0.8, 0.4});
  const auto positive = bools({false, false, true, true, true});
  // Pairs: .35 > .1; .8 > .1, .4; .4 > .1 and half of .4.
  EXPECT_NEAR(roc_auc(score, positive), (1 + 2 + 1.5) / 6, 1e-12);
  EXPECT_THROW(roc_auc(score, at::zeros({5}, at::kBool)), Error);
  EXPECT_THROW(
      roc_auc(score.index_fill(0, at::tensor({1}, at::kLong), std::numeric_limits<double>::quiet_NaN()),
              positive),
      Error);
}

TEST(LabelMetrics, MacroF1IsOverTheClassesThatOccur) {
  const auto label = at::tensor({0, 0, 1, 1, 1}, at::kLong), said = at::tensor({0, 1, 1, 1, 3}, at::kLong);
  // f1 of class 0: 2/(2+1), of class 1: 4/(3+3); class 3 occurs in predictions alone and is left out.
  EXPECT_NEAR(macro_f1(label, said, 4), (2.0 / 3 + 4.0 / 6) / 2, 1e-12);
}

TEST(LabelMetrics, TheWorstGroupIsNamed) {
  const auto worst = worst_group({"b", "a", "b", "a", "c"}, bools({true, false, false, true, true}));
  EXPECT_EQ(worst.name, "a");  // a and b are equal: the first by name
  EXPECT_EQ(worst.images, 2);
  EXPECT_EQ(worst.value, 0.5);
}

TEST(LabelMetrics, ATieIsWrong) {
  const auto sugar = choose(at::tensor({0.5, 0.4}).unsqueeze(0));
  EXPECT_TRUE(sugar.text);
  EXPECT_FALSE(sugar.tied);
  const auto tied = choose(at::tensor({0.5, 0.5}).unsqueeze(0));
  EXPECT_FALSE(tied.text);
  EXPECT_TRUE(tied.tied);
  // Winoground: both images prefer their own caption; the second caption prefers the first image.
  const auto item = choose(at::tensor({0.9, 0.8, 0.1, 0.7}).view({2, 2}));
  EXPECT_TRUE(item.text);
  EXPECT_FALSE(item.image);
}

TEST(LabelMetrics, RanksTellTiesAndTheFirstClass) {
  const auto image = at::eye(3),
             classes = at::tensor({1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0}).view({3, 3});
  const auto ranks = class_ranks(image, classes, at::tensor({1, 0, 2}, at::kLong));
  EXPECT_EQ(ranks.first_N[0].item<std::int64_t>(), 0);  // of classes 0 and 1 the smaller
  EXPECT_EQ(ranks.own_N[0].item<std::int64_t>(), 1);
  EXPECT_EQ(ranks.own_N[2].item<std::int64_t>(), 0);
  EXPECT_EQ(ranks.tied, 2);
}

TEST(Retrieval, FoldsAreMeasuredApart) {
  const auto image = at::eye(4), text = at::eye(4), owner = at::arange(4);
  auto confused = text.clone();
  confused[0] = image[2];  // of the other fold: inside its own it has no equal
  EXPECT_LT(metric(retrieval_recall(image, confused, owner, {1}), "image_retrieval_recall@1"), 1);
  const auto folds = folded_recall(image, text, owner, {1}, 2);
  EXPECT_EQ(metric(folds, "image_retrieval_recall@1"), 1);
  EXPECT_EQ(mean_recall(folds), 1);
  EXPECT_THROW(folded_recall(image, text, owner, {1}, 3), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation
