#include "worker/evaluation/few_shot.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/evaluation/class_draw.h"

namespace trireme::worker::evaluation {
namespace {

constexpr std::int64_t kValidationPerClass = 16;
// Weakest last, so that the first of equals restrains most.
constexpr double kBalls[] = {0, 0.01, 0.03, 0.1, 0.3, 1, 3};                // of ||W_0||_F
constexpr double kPenalties[] = {1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3, 1e4};  // C

LabelledFeatures rows_of(const LabelledFeatures& of, const at::Tensor& positions) {
  return {of.features_ND.index_select(0, positions), of.label_N.index_select(0, positions)};
}

// The first of the candidates that does best on `validation`.
template <std::size_t n, class Fit>
LinearClassifier choose(const double (&candidates)[n], const LabelledFeatures& validation, const Fit& fit,
                        const std::function<void()>& poll) {
  LinearClassifier best;
  double best_accuracy = -1;
  for (const double candidate : candidates) {
    if (poll) poll();
    LinearClassifier fitted = fit(candidate);
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
    const auto& [x, y] = drawn;
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
                 poll_))}};
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
  const auto x_ND = features_ND.to(at::kDouble), w0_KD = start_KD.to(at::kDouble);
  const auto target_NK = at::one_hot(label_N, w0_KD.size(0)).to(at::kDouble);
  const auto offset_NK = x_ND.matmul(w0_KD.t());
  const double curvature = (x_ND.square().sum(1).max().item<double>() + 1) / 2;
  const double share = 1 / static_cast<double>(label_N.size(0));
  at::Tensor w_KD = at::zeros_like(w0_KD), b_K = at::zeros({w0_KD.size(0)}, at::kDouble);
  for (int step = 0; step < steps && delta > 0; ++step) {
    const auto logits_NK = at::addmm(b_K, x_ND, w_KD.t()).add_(offset_NK);
    const auto residual_NK = (at::softmax(logits_NK, 1) - target_NK).mul_(share);
    w_KD = project_to_ball(w_KD - residual_NK.t().matmul(x_ND) / curvature, delta);
    b_K = project_to_ball(b_K - residual_NK.sum(0) / curvature, delta);
  }
  return {w_KD + w0_KD, b_K};
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
