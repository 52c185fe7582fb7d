#include "worker/losses/contrastive.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <mutex>

#include "common/base/random.h"
#include "tests/worker/collective/support/threads.h"
#include "worker/collective/slot_tree.h"

namespace trireme::worker::losses {
namespace {

using collective::Group;
using collective::run_ranks;

void in_order(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

at::Tensor unit(const at::Tensor& x) {
  return x / x.norm(2, {1}, true);
}

struct Input {
  at::Tensor image, text, live;
  std::int64_t slots = 1;
  double logit_scale = std::log(1 / 0.07);
};

// Standard input of METHODS 10.
Input standard(std::int64_t slots) {
  at::Tensor x = at::zeros({4, 3}, at::kDouble), t = at::zeros({4, 3}, at::kDouble);
  for (int i = 1; i <= 4; ++i)
    for (int k = 1; k <= 3; ++k) {
      x[i - 1][k - 1] = std::sin(0.7 * i * k);
      t[i - 1][k - 1] = std::sin(0.7 * i * k) + 0.5 * std::cos(1.3 * i + 0.9 * k);
    }
  return {unit(x), unit(t), at::ones({4}, at::kByte), slots};
}

Input random_input(std::int64_t rows, std::int64_t width, std::int64_t slots, at::ScalarType type) {
  RandomStream random(3, RandomPurpose::kTest, static_cast<std::uint64_t>(rows));
  const auto draw = [&] {
    at::Tensor x = at::zeros({rows, width}, at::kDouble);
    for (std::int64_t i = 0; i < x.numel(); ++i) x.data_ptr<double>()[i] = random.normal();
    return unit(x).to(type);
  };
  return {draw(), draw(), at::ones({rows}, at::kByte), slots, std::log(20.0)};
}

struct Output {
  double loss = 0, logit_scale = 0;
  at::Tensor image, text;
  bool skipped = false;
  std::int64_t live = 0;
};

Output compute(const Input& input, int ranks) {
  std::vector<SlotGradient> gradients(static_cast<std::size_t>(input.slots));
  Output output;
  std::mutex mutex;
  run_ranks(ranks, [&](Group& group) {
    const auto own = collective::own_slots(input.slots, group.size(), group.rank());
    const auto rows = input.image.size(0) / input.slots;
    std::vector<SlotEmbeddings> slots;
    for (auto s = own.first; s < own.last; ++s)
      slots.push_back({.image_bD = input.image.narrow(0, s * rows, rows),
                       .text_bD = {input.text.narrow(0, s * rows, rows)},
                       .live_b = input.live.narrow(0, s * rows, rows)});
    const auto result =
        contrastive(slots, input.slots, {.scale = std::exp(input.logit_scale)}, {}, group, in_order);
    const std::lock_guard lock(mutex);
    for (auto s = own.first; s < own.last; ++s)
      gradients[static_cast<std::size_t>(s)] = result.gradients[static_cast<std::size_t>(s - own.first)];
    output.loss = result.loss;
    output.skipped = result.skipped;
    output.live = result.live;
  });
  std::vector<at::Tensor> image, text;
  for (const auto& gradient : gradients) {
    image.push_back(gradient.image_bD);
    text.push_back(gradient.text_bD[0]);
    output.logit_scale += gradient.log_scale;
  }
  output.image = at::cat(image);
  output.text = at::cat(text);
  return output;
}

// Full-matrix definition on the live rows, by autograd.
Output oracle(const Input& input) {
  const at::Tensor live = input.live.to(at::kBool);
  const at::Tensor image = input.image.to(at::kDouble).requires_grad_();
  const at::Tensor text = input.text.to(at::kDouble).requires_grad_();
  const at::Tensor scale = at::full({}, input.logit_scale, at::kDouble).requires_grad_();
  const at::Tensor s = scale.exp() * at::mm(image.index({live}), text.index({live}).t());
  const at::Tensor loss =
      -(at::log_softmax(s, 1).diagonal().mean() + at::log_softmax(s, 0).diagonal().mean()) / 2;
  const auto gradients = torch::autograd::grad({loss}, {image, text, scale});
  return {loss.item<double>(), gradients[2].item<double>(), gradients[0], gradients[1]};
}

void expect_near(const at::Tensor& got, const at::Tensor& want, double tolerance, const char* what) {
  EXPECT_LT((got.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>(), tolerance) << what;
}

TEST(Contrastive, GoldenNumbers) {
  for (const std::int64_t slots : {1, 2, 4}) {
    const auto result = compute(standard(slots), 1);
    EXPECT_NEAR(result.loss, 0.1092807906, 5e-10);
    EXPECT_NEAR(result.logit_scale, -0.1057488347, 5e-9);
    EXPECT_NEAR(result.image[0][0].item<double>(), 0.0205325042, 5e-10);
    EXPECT_NEAR(result.image[0][1].item<double>(), -0.0097270427, 5e-10);
    EXPECT_NEAR(result.image[0][2].item<double>(), 0.0192983540, 5e-10);
  }
}

TEST(Contrastive, GoldenNumbersInFloat32) {
  auto input = standard(2);
  input.image = input.image.to(at::kFloat);
  input.text = input.text.to(at::kFloat);
  const auto result = compute(input, 2);
  EXPECT_NEAR(result.loss, 0.1092807906, 5e-6);
  EXPECT_NEAR(result.logit_scale, -0.1057488347, 5e-6);
}

TEST(Contrastive, EqualsAutogradOfTheFullMatrix) {
  const auto input = random_input(24, 8, 4, at::kDouble);
  const auto want = oracle(input);
  for (const int ranks : {1, 2, 4}) {
    const auto got = compute(input, ranks);
    EXPECT_NEAR(got.loss, want.loss, 1e-12);
    EXPECT_NEAR(got.logit_scale, want.logit_scale, 1e-12);
    expect_near(got.image, want.image, 1e-12, "image");
    expect_near(got.text, want.text, 1e-12, "text");
  }
}

TEST(Contrastive, EqualsFiniteDifferences) {
  const auto input = standard(2);
  const auto result = compute(input, 1);
  const double h = 1e-6;
  const auto slope = [&](auto change) {
    auto up = standard(2), down = standard(2);
    change(up, h);
    change(down, -h);
    return (compute(up, 1).loss - compute(down, 1).loss) / (2 * h);
  };
  for (std::int64_t i = 0; i < 12; ++i) {
    const auto image = slope([&](Input& at, double by) { at.image.data_ptr<double>()[i] += by; });
    const auto text = slope([&](Input& at, double by) { at.text.data_ptr<double>()[i] += by; });
    EXPECT_NEAR(image, result.image.view({-1})[i].item<double>(), 1e-7);
    EXPECT_NEAR(text, result.text.view({-1})[i].item<double>(), 1e-7);
  }
  EXPECT_NEAR(slope([&](Input& at, double by) { at.logit_scale += by; }), result.logit_scale, 1e-7);
}

TEST(Contrastive, FloatBitsDoNotDependOnTheNumberOfRanks) {
  auto input = random_input(64, 32, 8, at::kFloat);
  input.live[5] = 0;
  const auto alone = compute(input, 1);
  for (const int ranks : {2, 4, 8}) {
    const auto shared = compute(input, ranks);
    EXPECT_EQ(alone.loss, shared.loss);
    EXPECT_EQ(alone.logit_scale, shared.logit_scale);
    EXPECT_TRUE(at::equal(alone.image, shared.image));
    EXPECT_TRUE(at::equal(alone.text, shared.text));
  }
}

TEST(Contrastive, DeadRowsLeaveRowsAndNegatives) {
  auto input = random_input(24, 8, 4, at::kDouble);
  for (const int dead : {0, 7, 18, 19, 20, 21, 22, 23}) {  // the last slot is padding
    input.live[dead] = 0;
    input.image[dead].fill_(std::nan(""));
  }
  auto clean = input;
  clean.image = input.image.nan_to_num(0.5);
  const auto want = oracle(clean);
  const auto got = compute(input, 2);
  EXPECT_EQ(got.live, 16);
  EXPECT_NEAR(got.loss, want.loss, 1e-12);
  EXPECT_NEAR(got.logit_scale, want.logit_scale, 1e-12);
  expect_near(got.image, want.image, 1e-12, "image");
  expect_near(got.text, want.text, 1e-12, "text");
  EXPECT_EQ(got.image[7].abs().sum().item<double>(), 0);
}

TEST(Contrastive, FewerThanTwoLiveRowsAreSkipped) {
  auto input = random_input(8, 4, 2, at::kFloat);
  input.live.zero_();
  input.live[3] = 1;
  const auto result = compute(input, 2);
  EXPECT_TRUE(result.skipped);
  EXPECT_EQ(result.live, 1);
  EXPECT_EQ(result.image.abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace trireme::worker::losses
