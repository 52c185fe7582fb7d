// What holds for every member and combination, whatever the batch: relations that follow from METHODS 1 to 3
// alone, searched for counterexamples and shrunk by rapidcheck.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <utility>

#include "tests/worker/losses/support/full_matrix.h"
#include "tests/worker/losses/support/random_batch.h"
#include "worker/losses/contrastive.h"

namespace trireme::worker::losses {
namespace {

constexpr double kNear = 1e-9;

template <class T>
T one_of(std::initializer_list<T> values) {
  return *rc::gen::elementOf(std::vector<T>(values));
}

// Rows 0 and 1 live and differ in label, so every row has a negative. Small values are simple cases.
WholeBatch any_batch(bool all_negatives = true) {
  const auto slots = *rc::gen::inRange<std::int64_t>(1, 5), rows = *rc::gen::inRange<std::int64_t>(1, 7);
  const auto n = std::max<std::int64_t>(2, slots * rows), width = *rc::gen::inRange<std::int64_t>(1, 10);
  Random random(*rc::gen::inRange<std::uint64_t>(0, 1U << 20));
  WholeBatch batch;
  batch.slots = n == slots * rows ? slots : 1;
  batch.image = random.rows(n, width);
  for (int p = *rc::gen::inRange(1, 3); p > 0; --p) batch.texts.push_back(random.rows(n, width));
  batch.live = at::ones({n}, at::kByte);
  if (*rc::gen::arbitrary<bool>())
    for (std::int64_t i = 2; i < n; ++i) batch.live[i] = random.below(4) == 0 ? 0 : 1;
  if (*rc::gen::arbitrary<bool>())
    for (std::size_t p = 0; p < batch.texts.size(); ++p)
      batch.weights.push_back(random.rows(1, n).abs().squeeze(0) * 2);
  if (*rc::gen::arbitrary<bool>()) {
    batch.labels = at::arange(n, at::kLong);
    for (std::int64_t i = 2; i < n; ++i) batch.labels[i] = random.below(n);
  }
  auto& o = batch.options;
  o.kind = one_of({ContrastiveKind::kSoftmax, ContrastiveKind::kSigmoid});
  o.reduction = one_of({Reduction::kHalfMean, Reduction::kSumOfMeans, Reduction::kSum});
  if (o.kind == ContrastiveKind::kSoftmax) {
    o.smoothing = one_of({0.0, 0.1, 0.6});
    o.alpha = one_of({1.0, 0.999, 0.4});
    o.beta = one_of({0.0, 0.25, 2.0});
    o.detach_weights = *rc::gen::arbitrary<bool>();
  }
  if (!all_negatives) o.negative_fraction = one_of({1.0, 0.5});
  batch.point = {.scale = one_of({1.0, 7.0, 40.0}), .bias = one_of({0.0, -3.0}), .step = 3};
  return batch;
}

bool near(double a, double b) {
  return std::abs(a - b) <= kNear * std::max({1.0, std::abs(a), std::abs(b)});
}
bool near(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() <= kNear * std::max(1.0, a.abs().max().item<double>());
}

RC_GTEST_PROP(ContrastiveProperties, EqualsTheFullMatrixOnAnyNumberOfRanks, ()) {
  const auto batch = any_batch(false);
  const auto ranks = static_cast<int>(*rc::gen::suchThat(rc::gen::inRange<std::int64_t>(1, batch.slots + 1),
                                                         [&](auto w) { return batch.slots % w == 0; }));
  RC_ASSERT(difference(streamed(batch, ranks), full_matrix(batch), kNear) == "");
}

RC_GTEST_PROP(ContrastiveProperties, PermutingSamplesPermutesGradients, ()) {
  auto batch = any_batch();
  const auto one = streamed(batch, 1);
  const at::Tensor order = at::randperm(batch.image.size(0), at::kLong);
  const auto take = [&](at::Tensor& rows) {
    if (rows.defined()) rows = rows.index_select(0, order).contiguous();
  };
  take(batch.image);
  take(batch.live);
  for (auto& text : batch.texts) take(text);
  for (auto& weight : batch.weights) take(weight);
  if (batch.labels.defined()) take(batch.labels);
  const auto other = streamed(batch, 1);
  RC_ASSERT(near(one.loss, other.loss));
  RC_ASSERT(near(one.image.index_select(0, order), other.image));
}

// A constant on every logit cancels in the softmax: an extra coordinate adds scale * shift to all.
RC_GTEST_PROP(ContrastiveProperties, SoftmaxDoesNotSeeAShiftOfAllLogits, ()) {
  auto batch = any_batch(false);
  RC_PRE(batch.options.kind == ContrastiveKind::kSoftmax);
  const auto plain = streamed(batch, 1);
  const auto n = batch.image.size(0), width = batch.image.size(1);
  const double shift = one_of({0.5, -0.3});
  batch.image = at::cat({batch.image, at::full({n, 1}, shift, at::kDouble)}, 1);
  for (auto& text : batch.texts) text = at::cat({text, at::ones({n, 1}, at::kDouble)}, 1);
  const auto shifted = streamed(batch, 1);
  RC_ASSERT(near(plain.loss, shifted.loss));
  RC_ASSERT(near(plain.image, shifted.image.narrow(1, 0, width)));
}

// s = scale x.t: longer rows and a smaller scale are the same logits.
RC_GTEST_PROP(ContrastiveProperties, LengthAndScaleExchange, ()) {
  auto batch = any_batch(false);
  const auto plain = streamed(batch, 1);
  const double longer = one_of({0.5, 3.0});
  batch.image = batch.image * longer;
  batch.point.scale /= longer;
  const auto other = streamed(batch, 1);
  RC_ASSERT(near(plain.loss, other.loss));
  RC_ASSERT(near(plain.log_scale, other.log_scale));
  RC_ASSERT(near(plain.image, other.image * longer));
}

// Euler: L is a function of s alone, and s is linear in the images, in the texts and in the scale.
RC_GTEST_PROP(ContrastiveProperties, ThreeWaysToTheGradientOfTheScale, ()) {
  const auto batch = any_batch(false);
  const auto result = streamed(batch, 1);
  double texts = 0;
  for (std::size_t p = 0; p < batch.texts.size(); ++p)
    texts += (batch.texts[p] * result.texts[p]).sum().item<double>();
  RC_ASSERT(near((batch.image * result.image).sum().item<double>(), result.log_scale));
  RC_ASSERT(near(texts, result.log_scale));
}

RC_GTEST_PROP(ContrastiveProperties, DeadRowsAreAsIfTheyHadNeverBeen, ()) {
  auto batch = any_batch();
  batch.slots = 1;
  const auto with = streamed(batch, 1);
  const at::Tensor kept = batch.live.nonzero().squeeze(1);
  const auto take = [&](at::Tensor& rows) {
    if (rows.defined()) rows = rows.index_select(0, kept).contiguous();
  };
  take(batch.image);
  for (auto& text : batch.texts) take(text);
  for (auto& weight : batch.weights) take(weight);
  take(batch.labels);
  batch.live = at::ones({kept.size(0)}, at::kByte);
  const auto without = streamed(batch, 1);
  RC_ASSERT(near(with.loss, without.loss));
  RC_ASSERT(near(with.image.index_select(0, kept), without.image));
  RC_ASSERT(near(with.log_scale, without.log_scale));
}

RC_GTEST_PROP(ContrastiveProperties, LinearInTheWeightsOfTheSamples, ()) {
  auto batch = any_batch(false);
  const auto n = batch.image.size(0);
  Random random(9);
  const auto loss_with = [&](const at::Tensor& weight) {
    batch.weights.assign(batch.texts.size(), weight);
    return streamed(batch, 1);
  };
  const at::Tensor a = random.rows(1, n).abs().squeeze(0), b = random.rows(1, n).abs().squeeze(0);
  const auto of_a = loss_with(a), of_b = loss_with(b), of_both = loss_with(a + 2 * b);
  RC_ASSERT(near(of_a.loss + 2 * of_b.loss, of_both.loss));
  RC_ASSERT(near(of_a.image + 2 * of_b.image, of_both.image));
}

RC_GTEST_PROP(ContrastiveProperties, PairsAddUp, ()) {
  auto batch = any_batch();  // all negatives: of fewer, each pair has a choice of its own
  if (batch.texts.size() == 1) {
    batch.texts.push_back(batch.texts[0].flip(0));
    if (!batch.weights.empty()) batch.weights.push_back(batch.weights[0] + 1);
  }
  const auto both = streamed(batch, 1);
  double sum = 0;
  at::Tensor image = at::zeros_like(both.image);
  for (std::size_t p = 0; p < 2; ++p) {
    auto one = batch;
    one.texts = {batch.texts[p]};
    if (!batch.weights.empty()) one.weights = {batch.weights[p]};
    const auto result = streamed(one, 1);
    RC_ASSERT(near(result.loss, both.pair_loss[p]));
    sum += result.loss;
    image += result.image;
  }
  RC_ASSERT(near(sum, both.loss));
  RC_ASSERT(near(image, both.image));
}

RC_GTEST_PROP(ContrastiveProperties, LabelsThatAllDifferAreNoLabels, ()) {
  auto batch = any_batch(false);
  batch.labels = at::arange(batch.image.size(0), at::kLong) * 3 + 5;
  const auto labelled = streamed(batch, 1);
  batch.labels = at::Tensor();
  RC_ASSERT(difference(labelled, streamed(batch, 1), 1e-12) == "");
}

}  // namespace
}  // namespace trireme::worker::losses
