#include "worker/optim/lbfgs.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "common/base/error.h"

namespace trireme::worker::optim {
namespace {

TEST(Lbfgs, SolvesAnIllConditionedQuadratic) {
  const auto scale = at::logspace(-2, 2, 40, 10.0, at::kDouble),
             target = at::linspace(-5, 5, 40, at::kDouble);
  at::Tensor x = at::zeros({40}, at::kDouble);
  const auto result = minimize_lbfgs(
      [&](const at::Tensor& at_x, at::Tensor& gradient) {
        gradient.copy_((at_x - target) * scale);
        return ((at_x - target).square() * scale).sum().item<double>() / 2;
      },
      x, {.max_iterations = 4000, .gradient_tolerance = 1e-10});  // how many it takes hangs on rounding
  EXPECT_TRUE(result.converged) << result.iterations;
  EXPECT_TRUE(at::allclose(x, target, 0, 1e-6)) << x;
}

TEST(Lbfgs, FollowsTheValleyOfRosenbrock) {
  at::Tensor x = at::tensor({-1.2, 1.0}, at::kDouble);
  int calls = 0;
  const auto result = minimize_lbfgs(
      [&](const at::Tensor& p, at::Tensor& gradient) {
        ++calls;
        const double a = p[0].item<double>(), b = p[1].item<double>();
        gradient.copy_(at::tensor({-400 * a * (b - a * a) - 2 * (1 - a), 200 * (b - a * a)}, at::kDouble));
        return 100 * (b - a * a) * (b - a * a) + (1 - a) * (1 - a);
      },
      x);
  EXPECT_TRUE(result.converged);
  EXPECT_LT(calls, 100);
  EXPECT_TRUE(at::allclose(x, at::ones({2}, at::kDouble), 0, 1e-6)) << x;
}

TEST(Lbfgs, StepsBackFromWhereTheObjectiveIsNotFinite) {
  // 40 (x - ln x) from 5: the first step of the quasi-Newton direction reaches below 0.
  at::Tensor x = at::full({1}, 5.0, at::kDouble);
  const auto result = minimize_lbfgs(
      [](const at::Tensor& p, at::Tensor& gradient) {
        const double v = p.item<double>();
        gradient.fill_(40 * (1 - 1 / v));
        return v > 0 ? 40 * (v - std::log(v)) : std::numeric_limits<double>::infinity();
      },
      x);
  EXPECT_TRUE(result.converged);
  EXPECT_NEAR(x.item<double>(), 1, 1e-6);
}

TEST(Lbfgs, RefusesAStartThatIsNotFinite) {
  at::Tensor x = at::zeros({1}, at::kDouble);
  EXPECT_THROW(
      minimize_lbfgs([](const at::Tensor&, at::Tensor&) { return std::numeric_limits<double>::quiet_NaN(); },
                     x),
      Error);
}

}  // namespace
}  // namespace trireme::worker::optim
