#include "worker/evaluation/few_shot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "common/base/error.h"
#include "worker/evaluation/class_draw.h"
#include "worker/kernels/threads.h"

namespace trireme::worker::evaluation {
namespace {

constexpr std::int64_t kValidationPerClass = 16;
// Weakest last, so that the first of equals restrains most.
constexpr double kBalls[] = {0, 0.01, 0.03, 0.1, 0.3, 1, 3};                // of ||W_0||_F
constexpr double kPenalties[] = {1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3, 1e4};  // C

struct BallPoint {
  at::Tensor w_KD, b_K;
};

// The loss of prompt_ball and one step of projected gradient descent on it, of length 1/L.
class BallProblem {
 public:
  BallProblem(at::Tensor x_ND, const at::Tensor& label_N, const at::Tensor& w0_KD, double delta)
      : x_ND_(std::move(x_ND)),
        target_NK_(at::one_hot(label_N, w0_KD.size(0)).to(at::kDouble)),
        offset_NK_(x_ND_.matmul(w0_KD.t())),
        delta_(delta),
        curvature_((x_ND_.square().sum(1).max().item<double>() + 1) / 2) {}

  double loss(const BallPoint& at) const {
    return -(at::log_softmax(logits(at), 1) * target_NK_).sum().item<double>() /
           static_cast<double>(x_ND_.size(0));
  }
  BallPoint descend(const BallPoint& at) const {
    const auto residual_NK =
        (at::softmax(logits(at), 1) - target_NK_).div_(static_cast<double>(x_ND_.size(0)) * curvature_);
    return {project_to_ball(at.w_KD - residual_NK.t().matmul(x_ND_), delta_),
            project_to_ball(at.b_K - residual_NK.sum(0), delta_)};
  }

 private:
  at::Tensor logits(const BallPoint& at) const {
    return at::addmm(at.b_K, x_ND_, at.w_KD.t()).add_(offset_NK_);
  }
  at::Tensor x_ND_, target_NK_, offset_NK_;
  double delta_, curvature_;
};

LabelledFeatures rows_of(const LabelledFeatures& of, const at::Tensor& positions) {
  return {of.features_ND.index_select(0, positions), of.label_N.index_select(0, positions)};
}

// The first of the candidates that does best on `validation`. `at_once`: as many fits, each on one thread, so
// that their last bits do not depend on how many there are; 1 for a fit that sees to that itself.
template <std::size_t n, class Fit>
LinearClassifier choose(const double (&candidates)[n], const LabelledFeatures& validation, const Fit& fit,
                        const std::function<void()>& poll, int at_once = 1) {
  std::array<LinearClassifier, n> all;
  const auto one = [&](std::int64_t i, std::int64_t) {
    if (poll) poll();
    const auto at = static_cast<std::size_t>(i);
    all[at] = fit(candidates[at]);
  };
  if (at_once > 1)
    kernels::over_blocks(n, 1, at_once, one);
  else
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(n); ++i) one(i, 1);
  LinearClassifier best;
  double best_accuracy = -1;
  for (LinearClassifier& fitted : all) {
    const double reached = accuracy(fitted, validation.features_ND, validation.label_N);
    if (reached <= best_accuracy) continue;
    best_accuracy = reached;
    best = std::move(fitted);
  }
  return best;
}

class Shots {
 public:
  Shots(const LabelledFeatures& train, const LabelledFeatures& test, const at::Tensor& class_KD,
        const FewShotOptions& options, const std::function<void()>& poll)
      : train_(train),
        test_(test),
        start_KD_(class_KD.to(at::kDouble) * options.scale),
        options_(options),
        poll_(poll) {}

  double zero_shot() const { return reached({start_KD_, at::zeros({start_KD_.size(0)}, at::kDouble)}); }

  std::map<std::string, double> of(std::int64_t shots, std::uint64_t seed) const {
    const auto classes = start_KD_.size(0);
    const std::int64_t most = *std::max_element(options_.shots.begin(), options_.shots.end());
    const auto drawn = rows_of(train_, draw_shots(train_.label_N, classes, shots, seed).chosen);
    const auto validation = validation_of(draw_shots(train_.label_N, classes, most, seed).rest, seed);
    const at::Tensor &x = drawn.features_ND, &y = drawn.label_N;
    const double norm = start_KD_.norm().item<double>();
    return {{"probe", reached(choose(
                          kPenalties, validation,
                          [&](double c) { return fit_logistic_regression(x, y, classes, c); }, poll_))},
            {"prompt_l2",
             reached(choose(
                 kPenalties, validation,
                 [&](double c) { return fit_logistic_regression(x, y, classes, c, start_KD_); }, poll_))},
            {"prompt_ball",
             reached(choose(
                 kBalls, validation,
                 [&](double ball) { return fit_in_ball(x, y, start_KD_, ball * norm, options_.steps); },
                 poll_, at::get_num_threads()))}};
  }

 private:
  double reached(const LinearClassifier& classifier) const {
    return accuracy(classifier, test_.features_ND, test_.label_N);
  }

  LabelledFeatures validation_of(const at::Tensor& rest, std::uint64_t seed) const {
    if (rest.numel() == 0)
      throw Error(ErrorKind::kInvalid,
                  "few_shot draws every sample of its training data, so none is left to choose delta by",
                  "give train_data more samples per class, or ask for fewer shots");
    const auto left = rows_of(train_, rest);
    return rows_of(left, draw_shots(left.label_N, start_KD_.size(0), kValidationPerClass, seed).chosen);
  }

  const LabelledFeatures& train_;
  const LabelledFeatures& test_;
  at::Tensor start_KD_;
  const FewShotOptions& options_;
  const std::function<void()>& poll_;
};

void add(FewShotResult& result, const std::string& name, const std::vector<double>& values) {
  double mean = 0, square = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) square += (value - mean) * (value - mean);
  result.metrics.emplace_back(name, mean);
  result.spread.emplace_back(
      name, values.size() < 2 ? 0 : std::sqrt(square / static_cast<double>(values.size() - 1)));
}

}  // namespace

at::Tensor project_to_ball(const at::Tensor& weight, double delta) {
  const double norm = weight.norm().item<double>();
  return norm <= delta ? weight : weight * (delta / norm);
}

LinearClassifier fit_in_ball(const at::Tensor& features_ND, const at::Tensor& label_N,
                             const at::Tensor& start_KD, double delta, int steps) {
  const auto w0_KD = start_KD.to(at::kDouble);
  const BallProblem problem(features_ND.to(at::kDouble), label_N, w0_KD, delta);
  BallPoint now{at::zeros_like(w0_KD), at::zeros({w0_KD.size(0)}, at::kDouble)}, ahead = now;
  double loss = problem.loss(now), momentum = 1;
  for (int step = 0; step < steps && delta > 0; ++step) {
    BallPoint next = problem.descend(ahead);
    double reached = problem.loss(next);
    if (reached > loss) {  // too far: from where it stands, without momentum, the loss cannot rise
      momentum = 1;
      next = problem.descend(now);
      reached = std::min(loss, problem.loss(next));
    }
    const double grown = (1 + std::sqrt(1 + 4 * momentum * momentum)) / 2, far = (momentum - 1) / grown;
    ahead = {next.w_KD + far * (next.w_KD - now.w_KD), next.b_K + far * (next.b_K - now.b_K)};
    momentum = grown;
    loss = reached;
    now = std::move(next);
  }
  return {now.w_KD + w0_KD, now.b_K};
}

FewShotResult few_shot(const LabelledFeatures& train, const LabelledFeatures& test,
                       const at::Tensor& class_KD, const FewShotOptions& options,
                       const std::function<void()>& poll) {
  if (options.shots.empty() || options.seeds < 1 || test.label_N.numel() == 0)
    throw Error(ErrorKind::kInvalid, "few_shot needs shots, seeds and test samples");
  const Shots arms(train, test, class_KD, options, poll);
  FewShotResult result;
  add(result, "zero_shot_acc1", {arms.zero_shot()});
  for (const auto shots : options.shots) {
    std::map<std::string, std::vector<double>> reached;
    for (std::int64_t s = 0; s < options.seeds; ++s)
      for (const auto& [arm, value] : arms.of(shots, options.seed + static_cast<std::uint64_t>(s)))
        reached[arm].push_back(value);
    for (const char* arm : {"probe", "prompt_l2", "prompt_ball"})
      add(result, std::string(arm) + "_acc1@" + std::to_string(shots), reached.at(arm));
  }
  return result;
}

}  // namespace trireme::worker::evaluation
