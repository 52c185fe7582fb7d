#include "worker/losses/contrastive.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "common/base/error.h"
#include "tests/worker/collective/support/threads.h"
#include "tests/worker/losses/support/full_matrix.h"
#include "tests/worker/losses/support/random_batch.h"

namespace trireme::worker::losses {
namespace {

using collective::Group;
using collective::run_ranks;

constexpr double kTau = 0.07;

WholeBatch standard(std::int64_t slots = 1, const ContrastiveOptions& options = {}) {
  const auto input = standard_input();
  return {.image = input.x,
          .texts = {input.t},
          .live = at::ones({4}, at::kByte),
          .slots = slots,
          .point = {.scale = 1 / kTau},
          .options = options};
}

std::string described(std::uint64_t key, const WholeBatch& batch) {
  const auto& o = batch.options;
  return "case " + std::to_string(key) + ": " + std::to_string(batch.live.size(0)) + " rows, slots " +
         std::to_string(batch.slots) + ", kind " + std::to_string(static_cast<int>(o.kind)) + ", smoothing " +
         std::to_string(o.smoothing) + ", alpha " + std::to_string(o.alpha) + ", beta " +
         std::to_string(o.beta) + ", fraction " + std::to_string(o.negative_fraction) + ", labels " +
         std::to_string(batch.labels.defined()) + ", scale " + std::to_string(batch.point.scale);
}

int random_ranks(std::uint64_t key, std::int64_t slots) {
  std::vector<int> fit;
  for (int ranks = 1; ranks <= slots; ++ranks)
    if (slots % ranks == 0) fit.push_back(ranks);
  return fit[key % fit.size()];
}

TEST(Contrastive, EqualsTheFullMatrixForEveryCombination) {
  for (std::uint64_t key = 0; key < 300; ++key) {
    const auto batch = random_batch(key);
    EXPECT_EQ(difference(streamed(batch, random_ranks(key, batch.slots)), full_matrix(batch), 1e-10), "")
        << described(key, batch);
  }
}

TEST(Contrastive, Float32AndBfloat16StayWithinTheirErrors) {
  for (std::uint64_t key = 1000; key < 1100; ++key) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      auto batch = random_batch(key, type);
      batch.point.scale = std::min(batch.point.scale, 20.0);
      EXPECT_EQ(difference(streamed(batch, 1), full_matrix(batch), 2e-4), "") << described(key, batch);
    }
  }
}

TEST(Contrastive, FloatBitsDoNotDependOnTheNumberOfRanks) {
  for (std::uint64_t key = 0; key < 12; ++key) {
    auto batch = random_batch(2000 + key, at::kFloat);
    Random random(3000 + key);
    const std::int64_t n = 16 * 5, width = 24;
    batch.slots = 16;
    batch.image = random.rows(n, width, at::kFloat);
    for (auto& text : batch.texts) text = random.rows(n, width, at::kFloat);
    batch.live = at::ones({n}, at::kByte);
    batch.live[7] = 0;
    batch.live.narrow(0, 75, 5).zero_();  // the last rank of 16 has nothing
    for (auto& weight : batch.weights) weight = at::full({n}, 0.7, at::kDouble);
    if (batch.labels.defined()) batch.labels = at::arange(n, at::kLong).floor_divide(3);
    const auto alone = streamed(batch, 1);
    for (const int ranks : {2, 4, 8, 16})
      EXPECT_EQ(difference(streamed(batch, ranks), alone, 0), "")
          << ranks << " ranks, " << described(key, batch);
  }
}

// Slots over the largest tile, cut unevenly; every mask in one.
TEST(Contrastive, TiledEqualsTheFullMatrix) {
  for (const std::int64_t rows : {255, 256, 257, 300, 530}) {
    Random random(static_cast<std::uint64_t>(rows));
    WholeBatch batch{.image = random.rows(rows * 2, 8),
                     .texts = {random.rows(rows * 2, 8)},
                     .live = at::ones({rows * 2}, at::kByte),
                     .slots = 2,
                     .point = {.scale = 10}};
    batch.live[rows - 1] = 0;
    batch.options = {.smoothing = 0.1, .alpha = 0.9, .beta = 0.5};
    EXPECT_EQ(difference(streamed(batch, 2), full_matrix(batch), 1e-10), "") << rows;
    batch.options = {.kind = ContrastiveKind::kSigmoid};
    batch.labels = at::arange(rows * 2, at::kLong).remainder(40);
    EXPECT_EQ(difference(streamed(batch, 1), full_matrix(batch), 1e-10), "") << rows;
  }
}

TEST(Contrastive, NumbersOfInfoNce) {
  for (const std::int64_t slots : {1, 2, 4}) {
    const auto result = streamed(standard(slots), static_cast<int>(slots));
    EXPECT_NEAR(result.loss, 0.1092807906, 5e-11);
    EXPECT_NEAR(result.log_scale, -0.1057488347, 5e-11);
    EXPECT_NEAR(result.image[0][0].item<double>(), 0.0205325042, 5e-11);
    EXPECT_NEAR(result.image[0][1].item<double>(), -0.0097270427, 5e-11);
    EXPECT_NEAR(result.image[0][2].item<double>(), 0.0192983540, 5e-11);
  }
  EXPECT_NEAR(streamed(standard(1, {.reduction = Reduction::kSum}), 1).loss, 0.8742463252, 5e-10);
  EXPECT_NEAR(streamed(standard(1, {.reduction = Reduction::kSumOfMeans}), 1).loss, 0.2185615813, 5e-11);
}

TEST(Contrastive, NumbersOfHardNegatives) {
  struct Row {
    double alpha, beta, sum;
  };
  for (const auto& row : {Row{1, 0, 0.2185615813}, Row{1, 0.25, 0.4262295189}, Row{0.999, 0.5, 0.4815200100},
                          Row{1, 0.5, 0.4831796379}, Row{1, 1, 0.4986142428}, Row{0.5, 0, -1.0036877818},
                          Row{0, 0.5, -9.3870439660}}) {
    auto batch = standard(2, {.reduction = Reduction::kSumOfMeans, .alpha = row.alpha, .beta = row.beta});
    EXPECT_NEAR(streamed(batch, 2).loss, row.sum, 5e-11) << row.alpha << ", " << row.beta;
    batch.image = batch.image.to(at::kFloat);
    batch.texts[0] = batch.texts[0].to(at::kFloat);
    EXPECT_NEAR(streamed(batch, 1).loss, row.sum, 5e-6) << row.alpha << ", " << row.beta;
  }
  auto batch = standard(1, {.reduction = Reduction::kSumOfMeans, .beta = 0.5});
  auto result = streamed(batch, 1);
  EXPECT_NEAR(result.log_scale, -0.3480086557, 5e-10);
  EXPECT_NEAR(result.log_scale * kTau, -0.0243606059, 5e-11);
  const auto expect_x1 = [&](double a, double b, double c) {
    EXPECT_NEAR(result.image[0][0].item<double>(), a, 5e-11);
    EXPECT_NEAR(result.image[0][1].item<double>(), b, 5e-11);
    EXPECT_NEAR(result.image[0][2].item<double>(), c, 5e-11);
  };
  expect_x1(-0.0068011921, -0.0079616103, 0.0021858384);
  batch.options.detach_weights = true;
  result = streamed(batch, 1);
  EXPECT_NEAR(result.log_scale * kTau, -0.0277000063, 5e-11);
  expect_x1(0.0452228587, -0.0296313363, 0.0405319126);
}

TEST(Contrastive, ClosedFormOfThreeRows) {
  const double logits[9] = {2, 1, 0, 0, 2, 1, 1, 0, 2};
  WholeBatch batch{.image = at::tensor(at::ArrayRef<double>(logits, 9), at::kDouble).view({3, 3}),
                   .texts = {at::eye(3, at::kDouble)},
                   .live = at::ones({3}, at::kByte)};
  EXPECT_NEAR(streamed(batch, 1).loss, 0.4076059644, 5e-11);
  batch.options.beta = 1;
  EXPECT_NEAR(streamed(batch, 1).loss, 0.4766548170, 5e-11);
}

TEST(Contrastive, NumbersOfLabelSmoothing) {
  auto batch = standard(2, {.reduction = Reduction::kSumOfMeans, .smoothing = 0.1});
  batch.point.scale = 1;
  const auto result = streamed(batch, 2);
  EXPECT_NEAR(result.loss, 1.9822167050, 5e-11);
  EXPECT_NEAR(-result.log_scale, 0.6254359941, 5e-11);  // dL/dsigma at sigma 1
  EXPECT_NEAR(result.image[0][0].item<double>(), 0.0834362783, 5e-11);
  EXPECT_NEAR(result.image[0][1].item<double>(), -0.1960390965, 5e-11);
  EXPECT_NEAR(result.image[0][2].item<double>(), -0.1002432971, 5e-11);
  batch.options.reduction = Reduction::kHalfMean;
  EXPECT_NEAR(streamed(batch, 1).loss, 0.9911083525, 5e-11);
  batch.options.reduction = Reduction::kSumOfMeans;
  batch.point.scale = 64;
  EXPECT_NEAR(streamed(batch, 1).loss, 6.8460472499, 5e-10);
}

TEST(Contrastive, LossAndGradientsEqualFiniteDifferences) {
  for (const std::uint64_t key : {3U, 5U, 9U, 14U, 21U, 33U, 40U, 52U}) {
    auto batch = random_batch(key);
    batch.point.scale = 3;
    batch.options.detach_weights = false;
    const auto result = streamed(batch, 1);
    const double h = 1e-6;
    const auto slope = [&](auto change) {
      auto up = batch, down = batch;
      up.image = batch.image.clone();
      down.image = batch.image.clone();
      change(up, h);
      change(down, -h);
      return (streamed(up, 1).loss - streamed(down, 1).loss) / (2 * h);
    };
    for (std::int64_t i = 0; i < std::min<std::int64_t>(batch.image.numel(), 12); ++i)
      EXPECT_NEAR(slope([&](WholeBatch& at, double by) {
                    if (at.live[i / at.image.size(1)].item<int>() != 0) at.image.data_ptr<double>()[i] += by;
                  }),
                  result.image.view({-1})[i].item<double>(), 2e-6)
          << described(key, batch);
    EXPECT_NEAR(slope([](WholeBatch& at, double by) { at.point.scale *= std::exp(by); }), result.log_scale,
                2e-6);
    EXPECT_NEAR(slope([](WholeBatch& at, double by) { at.point.bias += by; }), result.bias, 2e-6);
  }
}

WholeBatch permuted(const WholeBatch& batch, const at::Tensor& order) {
  auto result = batch;
  result.image = batch.image.index_select(0, order);
  for (auto& text : result.texts) text = text.index_select(0, order);
  for (auto& weight : result.weights) weight = weight.index_select(0, order);
  result.live = batch.live.index_select(0, order);
  if (batch.labels.defined()) result.labels = batch.labels.index_select(0, order);
  return result;
}

TEST(Contrastive, PermutingTheBatchPermutesTheGradients) {
  for (std::uint64_t key = 60; key < 90; ++key) {
    auto batch = random_batch(key);
    batch.options.negative_fraction = 1;  // which negatives are kept depends on the place
    const auto n = batch.live.size(0);
    const at::Tensor order = (at::arange(n, at::kLong) + 1 + static_cast<std::int64_t>(key)).remainder(n);
    auto want = streamed(batch, 1);
    want.image = want.image.index_select(0, order);
    for (auto& text : want.texts) text = text.index_select(0, order);
    EXPECT_EQ(difference(streamed(permuted(batch, order), 1), want, 1e-11), "") << described(key, batch);
  }
}

TEST(Contrastive, TransposingSwapsTheDirections) {
  for (std::uint64_t key = 90; key < 110; ++key) {
    auto batch = random_batch(key);
    batch.options.negative_fraction = 1;
    batch.texts.resize(1);
    if (!batch.weights.empty()) batch.weights.resize(1);
    auto swapped = batch;
    std::swap(swapped.image, swapped.texts[0]);
    auto want = streamed(batch, 1);
    std::swap(want.image, want.texts[0]);
    EXPECT_EQ(difference(streamed(swapped, 1), want, 1e-11), "");
  }
}

TEST(Contrastive, MembersThatCoincide) {
  for (std::uint64_t key = 110; key < 130; ++key) {
    auto batch = random_batch(key);
    batch.options = {};
    const auto info_nce = streamed(batch, 1);
    if (!batch.labels.defined()) {
      auto labelled = batch;
      labelled.labels = at::arange(batch.live.size(0), at::kLong);
      EXPECT_EQ(difference(streamed(labelled, 1), info_nce, 1e-12), "") << "UniCL with different labels";
    }
    auto weighted = batch;
    weighted.weights.assign(batch.texts.size(), at::ones({batch.live.size(0)}, at::kDouble));
    if (batch.weights.empty()) {
      EXPECT_EQ(difference(streamed(weighted, 1), info_nce, 1e-13), "") << "weights of 1";
    }
  }
}

TEST(Contrastive, LossGrowsWithBetaAndAlphaAndTendsToTheHardestNegative) {
  Random random(130);
  WholeBatch batch{.image = random.rows(12, 5),
                   .texts = {random.rows(12, 5)},
                   .live = at::ones({12}, at::kByte),
                   .point = {.scale = 4}};
  double before = -1e9;
  for (const double beta : {0.0, 0.1, 0.5, 1.0, 5.0, 20.0}) {
    batch.options.beta = beta;
    const double loss = streamed(batch, 1).loss;
    EXPECT_GE(loss, before - 1e-12);
    before = loss;
  }
  const at::Tensor s = 4 * at::mm(batch.image, batch.texts[0].t());
  const at::Tensor others = s.masked_fill(at::eye(12, at::kBool), -1e9);
  const at::Tensor d = s.diagonal(), e = d.exp();
  const double limit = ((e + 11 * others.amax(1).exp()).log() - d).mean().item<double>() / 2 +
                       ((e + 11 * others.amax(0).exp()).log() - d).mean().item<double>() / 2;
  batch.options.beta = 100;
  EXPECT_NEAR(streamed(batch, 1).loss, limit, 0.02);
  before = -1e9;
  for (const double alpha : {0.1, 0.5, 0.9, 1.0}) {
    batch.options = {.alpha = alpha};
    EXPECT_GT(streamed(batch, 1).loss, before);
    before = streamed(batch, 1).loss;
  }
}

TEST(Contrastive, TwoRowsMakeBetaIrrelevant) {
  Random random(131);
  WholeBatch batch{.image = random.rows(2, 4),
                   .texts = {random.rows(2, 4)},
                   .live = at::ones({2}, at::kByte),
                   .point = {.scale = 10}};
  const auto want = streamed(batch, 1);
  batch.options.beta = 2;
  EXPECT_EQ(difference(streamed(batch, 1), want, 1e-11), "");
}

TEST(Contrastive, SmoothedLossNeverFallsUnderItsFloor) {
  const double floors[3][2] = {{4, .3487803849}, {64, 0}, {256, 0}};
  for (const auto& [rows, given] : floors) {
    const auto n = static_cast<std::int64_t>(rows);
    const double off = 0.1 / rows, on = 0.9 + off;
    const double floor = -on * std::log(on) - (rows - 1) * off * std::log(off);
    if (given > 0) {
      EXPECT_NEAR(floor, given, 5e-11);
    }
    WholeBatch batch{.image = at::eye(n, at::kDouble),
                     .texts = {at::eye(n, at::kDouble)},
                     .live = at::ones({n}, at::kByte),
                     .options = {.smoothing = 0.1}};
    batch.point.scale = std::log(on / off);  // the best gap: the floor itself
    EXPECT_NEAR(streamed(batch, 1).loss, floor, 1e-12);
    for (const double scale : {1.0, 5.0, 20.0}) {
      batch.point.scale = scale;
      EXPECT_GE(streamed(batch, 1).loss, floor - 1e-12);
    }
  }
}

TEST(Contrastive, NegativesAreThinnedToTheirShareAndChangeWithTheStep) {
  Random random(140);
  WholeBatch batch{.image = random.rows(64, 8),
                   .texts = {random.rows(64, 8)},
                   .live = at::ones({64}, at::kByte),
                   .slots = 8,
                   .point = {.scale = 0.0 + 1e-9},
                   .options = {.negative_fraction = 0.25}};
  // With all logits equal the loss of a row is the logarithm of what it keeps: its positive and 16 of 63.
  EXPECT_NEAR(streamed(batch, 4).loss, std::log(1 + 16), 1e-8);
  batch.point.scale = 10;
  const double now = streamed(batch, 1).loss;
  EXPECT_EQ(streamed(batch, 8).loss, now);
  batch.point.step = 1;
  EXPECT_NE(streamed(batch, 1).loss, now);
}

TEST(Contrastive, DeadRowsMayHoldAnything) {
  Random random(150);
  WholeBatch batch{.image = random.rows(24, 8),
                   .texts = {random.rows(24, 8)},
                   .live = at::ones({24}, at::kByte),
                   .slots = 4,
                   .point = {.scale = 10}};
  for (const int dead : {0, 7, 18, 19, 20, 21, 22, 23}) {  // the last slot is padding
    batch.live[dead] = 0;
    batch.image[dead].fill_(std::nan(""));
    batch.texts[0][dead].fill_(INFINITY);
  }
  for (const int ranks : {1, 2, 4}) {
    const auto got = streamed(batch, ranks);
    EXPECT_EQ(got.live, 16);
    EXPECT_EQ(difference(got, full_matrix(batch), 1e-11), "");
  }
}

TEST(Contrastive, NotANumberInALiveRowComesOut) {
  for (const double poison : {static_cast<double>(NAN), static_cast<double>(INFINITY)})
    for (const auto type : {at::kFloat, at::kDouble})
      for (const double beta : {0.0, 0.5}) {
        Random random(160);
        WholeBatch batch{.image = random.rows(20, 8, type),
                         .texts = {random.rows(20, 8, type)},
                         .live = at::ones({20}, at::kByte),
                         .slots = 2,
                         .point = {.scale = 10},
                         .options = {.smoothing = 0.1, .beta = beta}};
        batch.image[13][2] = poison;
        const auto result = streamed(batch, 2);
        EXPECT_FALSE(std::isfinite(result.loss));
        EXPECT_FALSE(std::isfinite(result.image[13].sum().item<double>()));
        batch.options = {.kind = ContrastiveKind::kSigmoid};
        EXPECT_FALSE(std::isfinite(streamed(batch, 1).loss));
      }
}

TEST(Contrastive, ZeroVectorsAndDuplicatesAreDefined) {
  WholeBatch batch{.image = at::zeros({6, 4}, at::kFloat),
                   .texts = {at::zeros({6, 4}, at::kFloat)},
                   .live = at::ones({6}, at::kByte),
                   .slots = 2,
                   .point = {.scale = 100}};
  EXPECT_NEAR(streamed(batch, 2).loss, std::log(6), 1e-6);
  batch.image = batch.texts[0] = Random(170).rows(1, 4, at::kFloat).expand({6, 4}).contiguous();
  const auto same = streamed(batch, 1);
  EXPECT_NEAR(same.loss, std::log(6), 1e-5);
  EXPECT_NEAR(same.image.abs().max().item<double>(), 0, 1e-4);
}

TEST(Contrastive, GreatScalesNeitherOverflowNorVanish) {
  for (const double beta : {0.0, 0.5})
    for (const double scale : {100.0, 1000.0}) {
      Random random(180);
      WholeBatch batch{.image = random.rows(40, 6, at::kFloat),
                       .texts = {random.rows(40, 6, at::kFloat)},
                       .live = at::ones({40}, at::kByte),
                       .slots = 2,
                       .point = {.scale = scale},
                       .options = {.beta = beta}};
      EXPECT_EQ(difference(streamed(batch, 2), full_matrix(batch), 2e-3), "") << scale;
    }
}

TEST(Contrastive, FewerThanTwoLiveRowsAreSkipped) {
  auto batch = random_batch(0, at::kFloat);
  batch.live.zero_();
  batch.live[1] = 1;
  const auto result = streamed(batch, 1);
  EXPECT_TRUE(result.skipped);
  EXPECT_EQ(result.live, 1);
  EXPECT_EQ(result.image.abs().sum().item<float>(), 0);
}

std::string refusal(const ContrastiveOptions& options) {
  try {
    check(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    return error.what();
  }
  return "";
}

TEST(Contrastive, OptionsOutOfRangeOrAtOddsAreRefused) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_NE(refusal({.smoothing = 1}).find("smoothing"), std::string::npos);
  EXPECT_NE(refusal({.smoothing = NAN}).find("smoothing"), std::string::npos);
  EXPECT_NE(refusal({.alpha = 1.1}).find("alpha"), std::string::npos);
  EXPECT_NE(refusal({.beta = -0.1}).find("beta"), std::string::npos);
  EXPECT_NE(refusal({.negative_fraction = 0}).find("negative_fraction"), std::string::npos);
  EXPECT_NE(refusal({.kind = ContrastiveKind::kSigmoid, .beta = 1}).find("sigmoid"), std::string::npos);
}

// What every rank says when rank 2 of 4 has something else.
std::vector<std::string> said(const std::function<void(WholeBatch&)>& change) {
  std::vector<std::string> messages(4);
  run_ranks(4, [&](Group& group) {
    Random random(190);
    WholeBatch batch{.image = random.rows(16, 4),
                     .texts = {random.rows(16, 4)},
                     .live = at::ones({16}, at::kByte),
                     .slots = 4,
                     .point = {.scale = 10}};
    if (group.rank() == 2) change(batch);
    try {
      contrastive(slots_of(batch, 4, group.rank()), batch.slots, batch.point, batch.options, group,
                  one_after_the_other);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInvalid)
        messages[static_cast<std::size_t>(group.rank())] = error.what();
    }
    group.barrier();  // nobody waits for anybody else
  });
  return messages;
}

TEST(Contrastive, RanksThatDisagreeAllSaySo) {
  const auto expect_all = [](const std::vector<std::string>& messages, const std::string& part) {
    for (const auto& message : messages) EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect_all(said([](WholeBatch& b) {
               b.image = b.image.narrow(1, 0, 3);
               b.texts[0] = b.texts[0].narrow(1, 0, 3);
             }),
             "width of a row is 4 on rank 0 and 3 on rank 2");
  expect_all(said([](WholeBatch& b) {
               b.image = b.image.to(at::kFloat);
               b.texts[0] = b.texts[0].to(at::kFloat);
             }),
             "dtype of rows");
  expect_all(said([](WholeBatch& b) { b.options.beta = 0.5; }), "beta is 0 on rank 0 and 0.5 on rank 2");
  expect_all(said([](WholeBatch& b) { b.point.scale = 11; }), "scale is 10 on rank 0 and 11 on rank 2");
  expect_all(said([](WholeBatch& b) { b.options.alpha = 7; }), "rank 2");
  expect_all(said([](WholeBatch& b) { b.live = b.live.to(at::kLong); }), "rank 2");
  expect_all(said([](WholeBatch& b) { b.weights = {at::full({16}, -1.0, at::kDouble)}; }), "rank 2");
}

TEST(Contrastive, OneRowWithoutNegativesNeedsAlphaOne) {
  WholeBatch batch{.image = at::ones({1, 2}, at::kDouble),
                   .texts = {at::ones({1, 2}, at::kDouble)},
                   .live = at::ones({1}, at::kByte)};
  EXPECT_TRUE(streamed(batch, 1).skipped);
  batch.options.alpha = 0.5;
  EXPECT_THROW(streamed(batch, 1), Error);
}

}  // namespace
}  // namespace trireme::worker::losses
