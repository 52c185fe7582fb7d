#include "worker/losses/soft_target_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>

#include "common/base/error.h"

namespace trireme::worker::losses {
namespace {

at::Tensor row(std::initializer_list<double> values) {
  return at::tensor(at::ArrayRef<double>(values.begin(), values.size()), at::kDouble).unsqueeze(0);
}
at::Tensor places(std::initializer_list<std::int64_t> values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values.begin(), values.size()), at::kLong).unsqueeze(0);
}

TEST(SoftTargetLoss, NumbersOfTopThree) {
  const auto [indices, weights] = top_k_targets(row({.40, .05, .25, .10, .20}), 3);
  EXPECT_TRUE(at::equal(indices, places({0, 2, 4})));
  EXPECT_TRUE(at::allclose(weights, row({.4705882353, .2941176471, .2352941176}), 0, 5e-11));
  const at::Tensor logits = row({2, .5, 1, -1, 0});
  EXPECT_NEAR(soft_target_loss(logits, indices, weights).item<double>(), 1.3391438220, 5e-11);
  EXPECT_NEAR(soft_target_loss(logits, places({0}), row({1})).item<double>(), .5744379396, 5e-11);
  // The minimum is the entropy of the target.
  const at::Tensor best = at::full({1, 5}, -1e9, at::kDouble).scatter(1, indices, weights.log());
  EXPECT_NEAR(soft_target_loss(best, indices, weights).item<double>(),
              -(weights * weights.log()).sum().item<double>(), 1e-12);
}

TEST(SoftTargetLoss, EveryConceptKeptChangesNothing) {
  const at::Tensor p = row({.40, .05, .25, .10, .20}), logits = row({2, .5, 1, -1, 0});
  const auto [indices, weights] = top_k_targets(p, 9);
  EXPECT_NEAR(soft_target_loss(logits, indices, weights).item<double>(),
              -(p * at::log_softmax(logits, 1)).sum().item<double>(), 1e-14);
}

TEST(SoftTargetLoss, GradientIsSoftmaxMinusTarget) {
  const at::Tensor logits = row({2, .5, 1, -1, 0}).requires_grad_();
  const auto [indices, weights] = top_k_targets(row({.40, .05, .25, .10, .20}), 2);
  const auto gradient =
      torch::autograd::grad({soft_target_loss(logits, indices, weights).sum()}, {logits})[0];
  const at::Tensor target = at::zeros({1, 5}, at::kDouble).scatter(1, indices, weights);
  EXPECT_TRUE(at::allclose(gradient, at::softmax(logits.detach(), 1) - target, 0, 1e-14));
}

TEST(SoftTargetLoss, RowsWithoutTargetAndHalfPrecision) {
  EXPECT_EQ(soft_target_loss(row({1, 2}), places({0}), row({0})).item<double>(), 0);
  EXPECT_EQ(soft_target_loss(row({1, -INFINITY}), places({1}), row({0})).item<double>(), 0);
  const at::Tensor half = row({1, 2, 3}).to(at::kBFloat16);
  EXPECT_EQ(soft_target_loss(half, places({2}), row({1})).scalar_type(), at::kFloat);
}

TEST(SoftTargetLoss, TargetsBeyondTheVocabularyAreNamed) {
  try {
    soft_target_loss(row({1, 2}), places({7}), row({1}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("concept 7 of a vocabulary of 2"), std::string::npos);
  }
  EXPECT_THROW(soft_target_loss(row({1, 2}), places({-1}), row({1})), Error);
  EXPECT_THROW(soft_target_loss(row({1, 2}), places({0, 1}), row({1})), Error);
  EXPECT_THROW(top_k_targets(row({1}), 0), Error);
}

}  // namespace
}  // namespace trireme::worker::losses
