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

// The header's formula in plain doubles.
struct Plain {
  double w, m = 0, v = 0;
  int k = 0;
  void step(double g, double lr, double decay, const AdamWOptions& o) {
    ++k;
    w -= lr * decay * w;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    w -= lr * (m / (1 - std::pow(o.beta1, k))) / (std::sqrt(v / (1 - std::pow(o.beta2, k))) + o.epsilon);
  }
};

TEST(AdamW, FollowsTheFormulaAndDecaysMatricesOnly) {
  const AdamWOptions options{.weight_decay = 0.2};
  at::Tensor matrix = at::full({3, 5}, 0.7F), gain = at::full({7}, 0.7F), scale = at::full({}, 0.7F);
  AdamW adam({{"matrix", matrix}, {"gain", gain}, {"logit_scale", scale}}, options);
  Plain decayed{0.7}, exempt{0.7};
  for (int i = 0; i < 20; ++i) {
    const double g = std::sin(i + 1.0);
    adam.step({at::full({3, 5}, g, at::kFloat), at::full({7}, g, at::kFloat), at::full({}, g, at::kFloat)},
              0.01, in_order);
    decayed.step(g, 0.01, 0.2, options);
    exempt.step(g, 0.01, 0, options);
  }
  EXPECT_NEAR(matrix[1][2].item<float>(), decayed.w, 1e-5);
  EXPECT_NEAR(gain[3].item<float>(), exempt.w, 1e-5);
  EXPECT_NEAR(scale.item<float>(), exempt.w, 1e-5);
  EXPECT_EQ(adam.updates(), 20);
}

TEST(AdamW, ResumesBitForBit) {
  const auto gradient = [](int i) { return at::sin(at::arange(35, at::kFloat) + i).view({5, 7}); };
  at::Tensor a = at::ones({5, 7}), b;
  AdamW first({{"w", a}}, {});
  for (int i = 0; i < 5; ++i) first.step({gradient(i)}, 0.1, in_order);
  b = a.clone();
  AdamW second({{"w", b}}, {});
  second.load_state(first.state());
  for (int i = 5; i < 9; ++i) {
    first.step({gradient(i)}, 0.1, in_order);
    second.step({gradient(i)}, 0.1, in_order);
  }
  EXPECT_TRUE(at::equal(a, b));
}

TEST(AdamW, RefusesAStateOfAnotherModel) {
  AdamW adam({{"w", at::ones({5})}}, {});
  AdamW other({{"v", at::ones({5})}}, {});
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
