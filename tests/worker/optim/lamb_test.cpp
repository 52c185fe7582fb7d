#include "worker/optim/lamb.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace trireme::worker::optim {
namespace {

void in_order(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

const GroupOptions kAll{.weight_decay = 0.01, .decay_all = true};

void expect_near(const at::Tensor& found, const std::vector<double>& expected, double error) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[static_cast<std::int64_t>(i)].item<double>(), expected[i], error) << i;
}

TEST(Lamb, AlignsNumbers) {  // METHODS 10.5
  for (const auto& [type, error] : {std::pair{at::kDouble, 1e-9}, std::pair{at::kFloat, 1e-6}}) {
    const at::Tensor w = at::tensor({1.0, 2.0, 2.0}).to(type), g = at::tensor({.1, -.2, .3}).to(type);
    Lamb lamb({{"w", w}}, 0.999, 1e-6, kAll);
    lamb.step({g}, {0.1, 0.9}, in_order);
    expect_near(w, {.8256697314, 2.1691529535, 1.8239425214}, error);
    lamb.step({g}, {0.1, 0.9}, in_order);
    expect_near(w, {.6541344819, 2.3355938954, 1.6507077540}, error);
  }
}

TEST(Lamb, ZeroWeightsHaveRatioOne) {
  const at::Tensor w = at::zeros({2}, at::kDouble), g = at::tensor({.5, -2.0});
  Lamb lamb({{"w", w}}, 0.999, 0, {.weight_decay = 0});
  lamb.step({g.to(at::kDouble)}, {0.1, 0.9}, in_order);
  expect_near(w, {-0.1, 0.1}, 1e-12);  // m_hat / sqrt(v_hat) is the sign of the gradient
}

TEST(Lamb, WithoutAdaptationTheStepIsPlain) {
  const at::Tensor w = at::tensor({1.0, 2.0, 2.0}).to(at::kDouble);
  Lamb lamb({{"w", w}}, 0.999, 1e-6,
            {.weight_decay = 0.01, .decay_all = true, .rules = {{"w", 1, 1, /*layer_adaptation=*/false}}});
  lamb.step({at::tensor({.1, -.2, .3}).to(at::kDouble)}, {0.1, 0.9}, in_order);
  expect_near(w, {1 - .100999000, 2 + .097999500, 2 - .101999667}, 1e-8);  // 10.5's u with ratio 1
}

// The length of a step is lr times that of the weights, whatever the scale of the gradient.
TEST(Lamb, StepsAreShareOfTheWeights) {
  for (const double scale : {1e-3, 1.0, 1e4}) {
    const at::Tensor w = at::sin(at::arange(35, at::kDouble)).view({5, 7}), before = w.clone();
    Lamb lamb({{"w", w}}, 0.999, 1e-12, {.weight_decay = 0});
    lamb.step({at::cos(at::arange(35, at::kDouble) * 3).view({5, 7}) * scale}, {0.02, 0.9}, in_order);
    EXPECT_NEAR((w - before).norm().item<double>() / before.norm().item<double>(), 0.02, 1e-6) << scale;
  }
}

TEST(Lamb, ResumesBitForBit) {
  const auto gradient = [](int i) { return at::sin(at::arange(35, at::kFloat) + i).view({5, 7}); };
  at::Tensor a = at::ones({5, 7}), b;
  Lamb first({{"w", a}}, 0.999, 1e-6, kAll);
  for (int i = 0; i < 5; ++i) first.step({gradient(i)}, {0.1, 0.9}, in_order);
  b = a.clone();
  Lamb second({{"w", b}}, 0.999, 1e-6, kAll);
  second.load_state(first.state());
  EXPECT_EQ(second.updates(), 5);
  for (int i = 5; i < 9; ++i) {
    first.step({gradient(i)}, {0.1, 0.9}, in_order);
    second.step({gradient(i)}, {0.1, 0.9}, in_order);
  }
  EXPECT_TRUE(at::equal(a, b));
}

}  // namespace
}  // namespace trireme::worker::optim
