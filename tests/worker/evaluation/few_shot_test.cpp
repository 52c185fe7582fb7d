#include "worker/evaluation/few_shot.h"

#include <atomic>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "tests/worker/evaluation/support.h"
#include "worker/evaluation/class_draw.h"

namespace trireme::worker::evaluation {
namespace {

double mean_loss(const LinearClassifier& classifier, const at::Tensor& x, const at::Tensor& y) {
  return at::cross_entropy_loss(classifier.logits(x), y).item<double>();
}

TEST(FewShot, BallProjectionOfMethods10_6) {
  const auto w = at::tensor({3.0, 4.0, 0.0, 0.0}, at::kDouble).view({2, 2});
  EXPECT_TRUE(
      at::allclose(project_to_ball(w, 1), at::tensor({0.6, 0.8, 0.0, 0.0}, at::kDouble).view({2, 2})));
  EXPECT_TRUE(at::equal(project_to_ball(w, 5), w));
  EXPECT_TRUE(at::equal(project_to_ball(w, 6), w));
}

TEST(FewShot, DeltaZeroIsTheZeroShotClassifierAndLossNeverRises) {
  const auto rows = probe_rows(1, 30);
  const auto start = at::randn({3, 5}, at::kDouble);
  const auto none = fit_in_ball(rows.x_N5, rows.label_N, start, 0, 50);
  EXPECT_TRUE(at::equal(none.weight_KD, start));
  EXPECT_EQ(none.bias_K.abs().max().item<double>(), 0);
  double before = mean_loss(none, rows.x_N5, rows.label_N);
  for (const int steps : {1, 2, 5, 20, 100}) {
    const auto fit = fit_in_ball(rows.x_N5, rows.label_N, start, 0.5, steps);
    EXPECT_LE((fit.weight_KD - start).norm().item<double>(), 0.5 + 1e-12);
    EXPECT_LE(fit.bias_K.norm().item<double>(), 0.5 + 1e-12);
    const double loss = mean_loss(fit, rows.x_N5, rows.label_N);
    EXPECT_LE(loss, before + 1e-12);
    before = loss;
  }
}

// 300 steps with momentum reach at least what ten times as many plain ones do, from a start that is far off.
TEST(FewShot, MomentumGetsToTheEdgeOfTheBall) {
  const auto rows = probe_rows(2, 40);
  const auto start = 5 * at::randn({3, 5}, at::kDouble);
  const double delta = 8;
  const auto x_ND = rows.x_N5.to(at::kDouble);
  const auto target_NK = at::one_hot(rows.label_N, 3).to(at::kDouble);
  const double length = 2 / (x_ND.square().sum(1).max().item<double>() + 1);
  LinearClassifier plain{at::zeros_like(start), at::zeros({3}, at::kDouble)};
  for (int step = 0; step < 3000; ++step) {
    const auto logits = at::addmm(plain.bias_K, x_ND, (plain.weight_KD + start).t());
    const auto residual = (at::softmax(logits, 1) - target_NK) / static_cast<double>(x_ND.size(0));
    plain.weight_KD = project_to_ball(plain.weight_KD - length * residual.t().matmul(x_ND), delta);
    plain.bias_K = project_to_ball(plain.bias_K - length * residual.sum(0), delta);
  }
  plain.weight_KD += start;
  const auto fit = fit_in_ball(x_ND, rows.label_N, start, delta, 300);
  EXPECT_LE((fit.weight_KD - start).norm().item<double>(), delta + 1e-9);
  EXPECT_LE(mean_loss(fit, x_ND, rows.label_N), mean_loss(plain, x_ND, rows.label_N) + 1e-6);
}

TEST(FewShot, DrawsAreNestedKeyedAndKnowTheirClasses) {
  const auto label = probe_rows(1, 200).label_N;
  const auto two = draw_shots(label, 3, 2, 7), five = draw_shots(label, 3, 5, 7);
  EXPECT_EQ(two.chosen.size(0), 6);
  EXPECT_TRUE(at::isin(two.chosen, five.chosen).all().item<bool>());
  EXPECT_TRUE(at::equal(std::get<0>(at::cat({five.chosen, five.rest}).sort()), at::arange(200)));
  EXPECT_TRUE(at::equal(at::bincount(label.index_select(0, two.chosen)), at::full({3}, 2, at::kLong)));
  EXPECT_FALSE(at::equal(draw_shots(label, 3, 2, 8).chosen, two.chosen));
  EXPECT_EQ(draw_shots(label, 3, 1000, 7).rest.numel(), 0);
  const auto split = hold_out_fifth(at::tensor({0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, at::kLong), 3, 1);
  EXPECT_EQ(split.chosen.numel(), 0 + 1 + 2);
}

// Unit rows round three class directions; the prompts point near them.
LabelledFeatures blobs(std::int64_t count, std::uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto label = at::arange(count) % 3;
  const auto rows = at::eye(3, 8, at::kDouble).index_select(0, label) +
                    0.45 * at::randn({count, 8}, generator, at::TensorOptions(at::kDouble));
  return {rows / rows.norm(2, {1}, true), label};
}

TEST(FewShot, PromptsHelpWhereShotsAreFewAndNobodyFallsBelowZeroShotWithMany) {
  const auto train = blobs(600, 1), test = blobs(600, 2);
  at::Tensor prompts = at::eye(3, 8, at::kDouble) + 0.35 * at::eye(3, 8, at::kDouble).roll(3, 1);
  prompts = prompts / prompts.norm(2, {1}, true);
  const auto result = few_shot(train, test, prompts, {.shots = {1, 32}, .seeds = 3, .scale = 10});
  const auto value = [&](const char* name) { return metric(result.metrics, name); };
  EXPECT_GT(value("prompt_ball_acc1@1"), value("probe_acc1@1"));
  EXPECT_GE(value("prompt_ball_acc1@1"), value("zero_shot_acc1") - 0.02);
  EXPECT_GE(value("prompt_ball_acc1@32"), value("zero_shot_acc1") - 0.01);
  EXPECT_GE(value("probe_acc1@32"), value("probe_acc1@1"));
  EXPECT_NEAR(value("probe_acc1@32"), value("prompt_ball_acc1@32"), 0.06);
  EXPECT_EQ(result.spread.size(), result.metrics.size());
}

TEST(FewShot, AnyNumberOfThreadsComesToTheSameResult) {
  const int before = at::get_num_threads();
  // Classes that overlap, so that accuracies hang on many near decisions.
  auto generator = at::detail::createCPUGenerator(5);
  const auto label_N = at::arange(1200) % 12;
  auto rows_ND = at::eye(12, 64, at::kDouble).index_select(0, label_N) +
                 0.5 * at::randn({1200, 64}, generator, at::TensorOptions(at::kDouble));
  rows_ND = rows_ND / rows_ND.norm(2, {1}, true);
  const LabelledFeatures all{rows_ND, label_N};
  std::vector<FewShotResult> found;
  std::atomic<int> polled = 0;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    found.push_back(few_shot(all, all, at::eye(12, 64, at::kDouble),
                             {.shots = {2, 16}, .seeds = 1, .scale = 10}, [&] { ++polled; }));
    EXPECT_EQ(at::get_num_threads(), threads) << "put back";
    EXPECT_EQ(found.back().metrics, found.front().metrics);
  }
  at::set_num_threads(before);
  EXPECT_EQ(polled, 3 * 2 * (8 + 8 + 7));
}

TEST(FewShot, SaysWhenNothingIsLeftToChooseBy) {
  const auto few = blobs(6, 1);
  EXPECT_THROW(few_shot(few, few, at::eye(3, 8, at::kDouble), {.shots = {2}}), Error);
}

}  // namespace
}  // namespace trireme::worker::evaluation
