// Training of a classifier: the loss is the definition, 50 steps are torch's own loop's, any number of ranks
// has the same bits, the head learns alone where that is asked for.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "common/io/file.h"
#include "tests/worker/stages/train/support/tiny_job.h"
#include "worker/optim/schedule.h"
#include "worker/optim/sgd.h"
#include "worker/stages/train/objectives/classification/classification_objective.h"

namespace trireme::worker::stages::train {
namespace {

SoftTargets hard(std::initializer_list<std::int64_t> labels) {
  const auto index = at::tensor(at::ArrayRef<std::int64_t>(labels), at::kLong).unsqueeze(1);
  return {index, at::ones(index.sizes(), at::kFloat)};
}

TEST(ClassificationLoss, IsTorchsWithAndWithoutSmoothing) {
  const auto logits = at::tensor({1.0, 2.0, -1.0, 0.5, 0.0, 3.0}).view({2, 3}).to(at::kFloat);
  const auto label = at::tensor({1, 2}, at::kLong);
  for (const double smoothing : {0.0, 0.1})
    EXPECT_NEAR(classification_loss(logits, hard({1, 2}), false, smoothing).item<double>(),
                at::cross_entropy_loss(logits, label, {}, at::Reduction::Sum, -100, smoothing).item<double>(),
                1e-6);
  const SoftTargets sets{at::tensor({0, 2, 1, 0}, at::kLong).view({2, 2}),
                         at::tensor({1.0, 1.0, 1.0, 0.0}).view({2, 2}).to(at::kFloat)};
  const auto truth = at::tensor({1.0, 0.0, 1.0, 0.0, 1.0, 0.0}).view({2, 3}).to(at::kFloat);
  EXPECT_NEAR(classification_loss(logits, sets, true, 0).item<double>(),
              at::binary_cross_entropy_with_logits(logits, truth).item<double>() * 2, 1e-6);
}

TEST(Mixup, SharesAreBetaAndKeyed) {
  EXPECT_EQ(mixup_share(0, 1, 2, 3), 1);
  EXPECT_EQ(mixup_share(0.4, 1, 2, 3), mixup_share(0.4, 1, 2, 3));
  double mean = 0, square = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const double share = mixup_share(0.4, 7, i, 0);
    EXPECT_TRUE(share >= 0 && share <= 1);
    mean += share / kDraws;
    square += share * share / kDraws;
  }
  EXPECT_NEAR(mean, 0.5, 0.03);
  EXPECT_NEAR(square - mean * mean, 1 / (4 * (2 * 0.4 + 1)), 0.02);  // variance of Beta(a, a)
}

// The rule and both schedules against the loop that torch's documentation states, 50 steps.
TEST(Sgd, FiftyStepsAreTorchsLoop) {
  at::Tensor weight = at::linspace(-1, 1, 12).view({3, 4}), plain = weight.clone(), buffer;
  optim::Sgd sgd({{"head.weight", weight}}, 0.9, {.weight_decay = 1e-3, .decay_all = true});
  optim::Schedule schedule{
      .peak = 0.1, .total_steps = 50, .shape = optim::Shape::kStep, .decay_steps = 20, .decay_factor = 0.2};
  for (int step = 0; step < 50; ++step) {
    const at::Tensor slope = (plain * static_cast<double>(step % 7 + 1)).sin();
    const auto rates = optim::rates(schedule, step);
    EXPECT_NEAR(rates.learning_rate, 0.1 * std::pow(0.2, step / 20), 1e-12);
    sgd.step({(weight * static_cast<double>(step % 7 + 1)).sin()}, rates,
             [](std::int64_t n, const auto& body) {
               for (std::int64_t i = 0; i < n; ++i) body(i);
             });
    const at::Tensor whole = slope + 1e-3 * plain;
    buffer = buffer.defined() ? 0.9 * buffer + whole : whole.clone();
    plain = plain - rates.learning_rate * buffer;
  }
  EXPECT_LT((weight - plain).abs().max().item<double>(), 1e-5);
  schedule.shape = optim::Shape::kExponential;
  EXPECT_NEAR(optim::rates(schedule, 30).learning_rate, 0.1 * std::pow(0.2, 1.5), 1e-12);
}

TEST(LayerDecay, DepthsCountDownFromTheTop) {
  const auto one = at::ones({2, 2});
  const optim::NamedTensors names{{"visual.conv1.weight", one},
                                  {"visual.transformer.resblocks.0.mlp", one},
                                  {"visual.transformer.resblocks.2.mlp", one},
                                  {"visual.proj", one},
                                  {"token_embedding.weight", one},
                                  {"transformer.resblocks.1.mlp", one},
                                  {"head.weight", one}};
  EXPECT_EQ(optim::layer_depths(names), (std::vector<std::int64_t>{4, 3, 1, 0, 3, 1, 0}));
  const auto treated = optim::treatments(names, {.layer_decay = 0.5, .first = "head.", .late_updates = 3});
  EXPECT_EQ(treated[0].learning_rate_factor, 0.0625);
  EXPECT_EQ(treated[6].learning_rate_factor, 1);
  EXPECT_EQ(treated[0].late_updates, 3);
  EXPECT_EQ(treated[6].late_updates, 0);
}

}  // namespace
}  // namespace trireme::worker::stages::train
