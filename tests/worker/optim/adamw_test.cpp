#include "worker/optim/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/base/error.h"
#include "worker/optim/gradient_norm.h"

namespace trireme::worker::optim {
namespace {

void in_order(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

constexpr double kBeta2 = 0.98, kEpsilon = 1e-6;

// The header's formula in plain doubles.
struct Plain {
  double w, m = 0, v = 0;
  int k = 0;
  void step(double g, const Rates& rates, double decay) {
    ++k;
    w -= rates.learning_rate * decay * w;
    m = rates.beta1 * m + (1 - rates.beta1) * g;
    v = kBeta2 * v + (1 - kBeta2) * g * g;
    w -= rates.learning_rate * (m / (1 - std::pow(rates.beta1, k))) /
         (std::sqrt(v / (1 - std::pow(kBeta2, k))) + kEpsilon);
  }
};

TEST(AdamW, FollowsTheFormulaAndDecaysMatricesOnly) {
  at::Tensor matrix = at::full({3, 5}, 0.7F), gain = at::full({7}, 0.7F), scale = at::full({}, 0.7F);
  AdamW adam({{"matrix", matrix}, {"gain", gain}, {"logit_scale", scale}}, kBeta2, kEpsilon,
             {.weight_decay = 0.2});
  Plain decayed{0.7}, exempt{0.7};
  for (int i = 0; i < 20; ++i) {
    const double g = std::sin(i + 1.0);
    const Rates rates{0.01, 0.95 - 0.005 * i};  // cycled, as ALIP's schedule does
    adam.step({at::full({3, 5}, g, at::kFloat), at::full({7}, g, at::kFloat), at::full({}, g, at::kFloat)},
              rates, in_order);
    decayed.step(g, rates, 0.2);
    exempt.step(g, rates, 0);
  }
  EXPECT_NEAR(matrix[1][2].item<float>(), decayed.w, 1e-5);
  EXPECT_NEAR(gain[3].item<float>(), exempt.w, 1e-5);
  EXPECT_NEAR(scale.item<float>(), exempt.w, 1e-5);
  EXPECT_EQ(adam.updates(), 20);
}

TEST(AdamW, GroupsHaveTheirOwnRateAndDecay) {
  at::Tensor head = at::full({3, 5}, 0.7F), body = at::full({4, 4}, 0.7F), bias = at::full({6}, 0.7F);
  AdamW adam({{"body", body}, {"concepts.head", head}, {"bias", bias}}, kBeta2, kEpsilon,
             {.weight_decay = 0.2, .decay_all = true, .rules = {{"concepts.*", 10, 0.01}}});
  Plain fast{0.7}, plain{0.7};
  for (int i = 0; i < 10; ++i) {
    const double g = std::cos(i + 1.0);
    adam.step(
        {at::full({4, 4}, g, at::kFloat), at::full({3, 5}, g, at::kFloat), at::full({6}, g, at::kFloat)},
        {0.001, 0.9}, in_order);
    fast.step(g, {0.01, 0.9}, 0.002);
    plain.step(g, {0.001, 0.9}, 0.2);
  }
  EXPECT_NEAR(head[1][2].item<float>(), fast.w, 1e-5);
  EXPECT_NEAR(body[1][2].item<float>(), plain.w, 1e-5);
  EXPECT_NEAR(bias[1].item<float>(), plain.w, 1e-5) << "every parameter, as ALIP's code";
}

TEST(AdamW, ResumesBitForBit) {
  const auto gradient = [](int i) { return at::sin(at::arange(35, at::kFloat) + i).view({5, 7}); };
  at::Tensor a = at::ones({5, 7}), b;
  AdamW first({{"w", a}}, kBeta2, kEpsilon, {});
  for (int i = 0; i < 5; ++i) first.step({gradient(i)}, {0.1, 0.9}, in_order);
  b = a.clone();
  AdamW second({{"w", b}}, kBeta2, kEpsilon, {});
  second.load_state(first.state());
  for (int i = 5; i < 9; ++i) {
    first.step({gradient(i)}, {0.1, 0.9}, in_order);
    second.step({gradient(i)}, {0.1, 0.9}, in_order);
  }
  EXPECT_TRUE(at::equal(a, b));
}

TEST(AdamW, RefusesAStateOfAnotherModel) {
  AdamW adam({{"w", at::ones({5})}}, kBeta2, kEpsilon, {});
  AdamW other({{"v", at::ones({5})}}, kBeta2, kEpsilon, {});
  try {
    adam.load_state(other.state());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
    EXPECT_NE(std::string(error.what()).find("exp_avg.w is missing"), std::string::npos);
  }
}

TEST(GradientNorm, IsTheNormOfAll) {
  const std::vector<at::Tensor> gradients{at::full({3, 3}, 2.0F), at::full({}, 8.0F)};
  EXPECT_DOUBLE_EQ(gradient_norm(gradients, in_order), 10);
  EXPECT_DOUBLE_EQ(clip_gradients(gradients, 10, 5, in_order), 0.5);
  EXPECT_DOUBLE_EQ(gradient_norm(gradients, in_order), 5);
  EXPECT_DOUBLE_EQ(clip_gradients(gradients, 5, 0, in_order), 1) << "0 is off";
}

TEST(GradientNorm, ShowsNonFiniteValues) {
  EXPECT_FALSE(std::isfinite(gradient_norm({at::ones({3}), at::full({2}, std::nanf(""))}, in_order)));
  EXPECT_FALSE(
      std::isfinite(gradient_norm({at::full({2}, std::numeric_limits<float>::infinity())}, in_order)));
}

}  // namespace
}  // namespace trireme::worker::optim
