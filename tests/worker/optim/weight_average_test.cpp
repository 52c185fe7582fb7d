#include "worker/optim/weight_average.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/error.h"

namespace trireme::worker::optim {
namespace {

void in_order(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

TEST(WeightAverage, FollowsTheFormula) {
  for (const bool warm_up : {false, true}) {
    at::Tensor w = at::full({3}, 1.0F);
    WeightAverage average({{"w", w}}, 0.9, warm_up);
    double expected = 1;
    for (int k = 1; k <= 30; ++k) {
      w.fill_(k * k * 0.1F);
      average.update(in_order);
      const double decay = warm_up ? std::min(0.9, (1.0 + k) / (10.0 + k)) : 0.9;
      expected = decay * expected + (1 - decay) * k * k * 0.1;
    }
    EXPECT_NEAR(average.state()[0].second[1].item<double>(), expected, 1e-4);
  }
}

TEST(WeightAverage, ExchangesAndGivesBackTheSameBits) {
  at::Tensor w = at::sin(at::arange(9, at::kFloat)).requires_grad_();
  WeightAverage average({{"w", w}}, 0.5, false);
  const auto first = w.detach().clone();
  w.detach().add_(0.3);
  average.update(in_order);
  const auto weights = w.detach().clone(), mean = average.state()[0].second.clone();
  EXPECT_TRUE(at::allclose(mean, (first + weights) / 2));
  average.exchange();
  EXPECT_TRUE(at::equal(w, mean));
  average.exchange();
  EXPECT_TRUE(at::equal(w, weights));
  EXPECT_TRUE(at::equal(average.state()[0].second, mean));
}

TEST(WeightAverage, ResumesBitForBitAndRefusesAnotherModel) {
  at::Tensor a = at::ones({5}), b = at::ones({5});
  WeightAverage first({{"w", a}}, 0.99, true), second({{"w", b}}, 0.99, true);
  const auto move = [](at::Tensor& w, int k) { w.mul_(0.9).add_(0.01 * k); };
  for (int k = 0; k < 4; ++k) {
    move(a, k);
    first.update(in_order);
  }
  b.copy_(a);
  second.load_state(first.state());
  for (int k = 4; k < 8; ++k) {
    move(a, k);
    move(b, k);
    first.update(in_order);
    second.update(in_order);
  }
  EXPECT_TRUE(at::equal(first.state()[0].second, second.state()[0].second));
  WeightAverage other({{"v", at::ones({5})}}, 0.99, true);
  EXPECT_THROW(other.load_state(first.state()), Error);
}

}  // namespace
}  // namespace trireme::worker::optim
