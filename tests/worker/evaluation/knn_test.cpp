#include "worker/evaluation/knn.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "tests/worker/evaluation/support.h"

namespace trireme::worker::evaluation {
namespace {

TEST(Knn, EqualsScikitLearn) {
  const auto train = probe_rows(1, 60), test = probe_rows(61, 40);
  const auto metrics =
      knn_recall(train.x_N5.narrow(1, 3, 2), train.label_N, test.x_N5.narrow(1, 3, 2), test.label_N, {1, 5});
  EXPECT_NEAR(metric(metrics, "knn_recall@1"), 0.425, 1e-12);
  EXPECT_NEAR(metric(metrics, "knn_recall@5"), 0.975, 1e-12);
}

TEST(Knn, LengthsAndTilesDoNotMatterAndTiesGoToTheSmallerPosition) {
  const auto train = probe_rows(1, 30), test = probe_rows(40, 17);
  const auto whole = knn_recall(train.x_N5, train.label_N, test.x_N5, test.label_N, {1, 2, 7});
  EXPECT_EQ(knn_recall(train.x_N5 * 3, train.label_N, test.x_N5 * 0.1, test.label_N, {1, 2, 7}, 61), whole);
  // Two equal training rows of classes 0 and 1: the first is the nearest.
  const auto rows = at::ones({2, 3}), labels = at::arange(2);
  EXPECT_EQ(metric(knn_recall(rows, labels, rows, labels, {1}), "knn_recall@1"), 0.5);
  EXPECT_EQ(metric(knn_recall(rows, labels, rows, labels, {2}), "knn_recall@2"), 1);
  // A class the training set lacks.
  EXPECT_EQ(metric(knn_recall(rows, labels, rows, labels + 5, {2}), "knn_recall@2"), 0);
}

TEST(Knn, AnyNumberOfThreadsComesToTheSameResult) {
  const int before = at::get_num_threads();
  const auto drawn = at::arange(700 * 33, at::kDouble).mul(12.9898).sin().mul(43758.5453).view({700, 33});
  const auto rows = drawn - drawn.floor(), labels = at::arange(700) * 7 % 50;
  std::vector<Metrics> found;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    found.push_back(knn_recall(rows, labels, rows.roll(1, 0), labels, {1, 5, 20}, 9000));
    EXPECT_EQ(at::get_num_threads(), threads) << "put back";
    EXPECT_EQ(found.back(), found.front());
  }
  at::set_num_threads(before);
}

TEST(Knn, ChanceIsWhatRandomOrdersGive) {
  const auto train = at::tensor({0, 0, 1, 2}, at::kLong), query = at::tensor({0, 1, 3}, at::kLong);
  const auto chance = knn_chance(train, query, {1, 2, 3});
  EXPECT_NEAR(metric(chance, "knn_recall@1"), (0.5 + 0.25 + 0) / 3, 1e-12);
  EXPECT_NEAR(metric(chance, "knn_recall@2"), (5.0 / 6 + 0.5 + 0) / 3, 1e-12);
  EXPECT_NEAR(metric(chance, "knn_recall@3"), (1 + 0.75 + 0) / 3, 1e-12);
}

TEST(Knn, FaultsAreNamed) {
  const auto rows = at::ones({2, 3}), labels = at::arange(2);
  EXPECT_THROW(knn_recall(rows, labels, rows, labels, {3}), Error);
  EXPECT_THROW(knn_recall(rows, labels.narrow(0, 0, 1), rows, labels, {1}), Error);
  EXPECT_THROW(knn_recall(rows.narrow(0, 0, 0), labels.narrow(0, 0, 0), rows, labels, {1}), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation
