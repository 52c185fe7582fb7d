#include "worker/evaluation/zero_shot.h"

#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::evaluation {
namespace {

TEST(ZeroShot, PromptsClassByClass) {
  EXPECT_EQ(class_prompts({"cat", "{c}"}, {"a {c}.", "{c} and {c}"}),
            (std::vector<std::string>{"a cat.", "cat and cat", "a {c}.", "{c} and {c}"}));
}

TEST(ZeroShot, EnsembleOfMethods10_8) {
  const auto raw = at::tensor({2.0, 0.0, 0.0, 0.3, 0.4, 0.0}, at::kFloat).reshape({2, 3});
  const auto expected = at::tensor({0.8944272, 0.4472136, 0.0}, at::kFloat).reshape({1, 3});
  EXPECT_TRUE(at::allclose(class_embeddings(raw, 1), expected, 0, 1e-6));
  EXPECT_THROW(class_embeddings(raw, 3), Error);
}

TEST(ZeroShot, AccuracyAndBalancedRecall) {
  // Predictions 0 0 1 2 2 2 of labels 0 0 0 1 2 2; class 3 never occurs and does not count.
  const auto classes = at::eye(4);
  const auto image = classes.index_select(0, at::tensor({0, 0, 1, 2, 2, 2}, at::kLong));
  const auto label = at::tensor({0, 0, 0, 1, 2, 2}, at::kLong);
  const Metrics metrics = zero_shot_metrics(image, classes, label);
  EXPECT_NEAR(metric(metrics, "acc1"), 4.0 / 6, 1e-12);
  EXPECT_NEAR(metric(metrics, "mean_per_class_recall"), (2.0 / 3 + 0 + 1) / 3, 1e-12);
  EXPECT_THROW(metric(metrics, "acc5"), Error);  // fewer than five classes
}

TEST(ZeroShot, TopFiveAndTiesByIndex) {
  // All scores equal: class c has rank c.
  const auto image = at::ones({7, 1}), classes = at::ones({7, 1});
  const Metrics metrics = zero_shot_metrics(image, classes, at::arange(7));
  EXPECT_NEAR(metric(metrics, "acc1"), 1.0 / 7, 1e-12);
  EXPECT_NEAR(metric(metrics, "acc5"), 5.0 / 7, 1e-12);
  EXPECT_NEAR(metric(zero_shot_chance(7), "acc5"), 5.0 / 7, 1e-12);
}

TEST(ZeroShot, AgreesWithTopk) {
  at::manual_seed(3);
  const auto image = at::randn({50, 8}), classes = at::randn({9, 8});
  const auto label = at::randint(9, {50}, at::kLong);
  const auto top = std::get<1>((image.matmul(classes.t()) * 100).topk(5, 1));
  const auto hit = top == label.unsqueeze(1);
  const Metrics metrics = zero_shot_metrics(image, classes, label);
  EXPECT_NEAR(metric(metrics, "acc1"), hit.select(1, 0).to(at::kDouble).mean().item<double>(), 1e-12);
  EXPECT_NEAR(metric(metrics, "acc5"), hit.any(1).to(at::kDouble).mean().item<double>(), 1e-12);
}

TEST(ZeroShot, FaultsAreNamed) {
  const auto image = at::randn({2, 3}), classes = at::randn({4, 3});
  EXPECT_THROW(zero_shot_metrics(image, classes, at::tensor({0, 4}, at::kLong)), Error);
  EXPECT_THROW(zero_shot_metrics(image, classes, at::tensor({-1, 0}, at::kLong)), Error);
  EXPECT_THROW(zero_shot_metrics(image, classes, at::tensor({0}, at::kLong)), Error);
}

TEST(Result, ClipBenchmarkJsonWithNullForNan) {
  EvaluationResult result{"flickr", "m", "p", "zeroshot_retrieval", {{"b", 0.5}, {"a", 0}}, "en"};
  result.metrics[1].second = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(to_json(result),
            R"({"dataset":"flickr","model":"m","pretrained":"p","task":"zeroshot_retrieval",)"
            R"("metrics":{"b":0.5,"a":null},"language":"en"})");
}

}  // namespace
}  // namespace trireme::worker::evaluation
