#include "worker/evaluation/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/evaluation/class_draw.h"
#include "worker/optim/lbfgs.h"

namespace trireme::worker::evaluation {
namespace {

constexpr int kFirstStride = 16, kLastIndex = 96;  // of the grid of lambda

double lambda_of(int index) {
  return std::pow(10.0, -6 + index / 8.0);
}

void check(const at::Tensor& features_ND, const at::Tensor& label_N, std::int64_t classes) {
  if (features_ND.dim() != 2 || label_N.dim() != 1 || features_ND.size(0) != label_N.size(0) ||
      features_ND.size(0) == 0)
    throw Error(ErrorKind::kInvalid, "a probe needs features [N, D] and one label per row, N > 0");
  const auto low = label_N.min().item<std::int64_t>(), high = label_N.max().item<std::int64_t>();
  if (low < 0 || high >= classes)
    throw Error(ErrorKind::kInvalid, "label " + std::to_string(low < 0 ? low : high) + " is outside the " +
                                         std::to_string(classes) + " classes");
  if (!at::isfinite(features_ND).all().item<bool>())
    throw Error(ErrorKind::kInvalid, "the features of a probe hold NaN or infinity");
}

// Value and gradient of the objective over C N, so that its scale does not depend on either.
class Regression {
 public:
  Regression(const at::Tensor& features_ND, const at::Tensor& label_N, std::int64_t classes, double c,
             const at::Tensor& start_KD)
      : x_ND_(features_ND.to(at::kDouble)),
        target_NK_(at::one_hot(label_N, classes).to(at::kDouble)),
        share_(1 / static_cast<double>(label_N.size(0))),
        penalty_(1 / (c * static_cast<double>(label_N.size(0)))),
        classes_(classes) {
    if (start_KD.defined()) offset_NK_ = x_ND_.matmul(start_KD.to(at::kDouble).t());
  }

  std::int64_t numbers() const { return classes_ * (width() + 1); }
  at::Tensor weight(const at::Tensor& flat) const {
    return flat.narrow(0, 0, classes_ * width()).view({classes_, width()});
  }
  at::Tensor bias(const at::Tensor& flat) const { return flat.narrow(0, classes_ * width(), classes_); }

  double operator()(const at::Tensor& flat, at::Tensor& gradient) const {
    const auto w_KD = weight(flat);
    at::Tensor logits_NK = at::addmm(bias(flat), x_ND_, w_KD.t());
    if (offset_NK_.defined()) logits_NK.add_(offset_NK_);
    const auto log_p_NK = at::log_softmax(logits_NK, 1);
    const double loss = -(log_p_NK * target_NK_).sum().item<double>() * share_;
    const auto residual_NK = (log_p_NK.exp() - target_NK_) * share_;
    weight(gradient).copy_(at::addmm(w_KD, residual_NK.t(), x_ND_, penalty_));
    bias(gradient).copy_(residual_NK.sum(0));
    return loss + penalty_ / 2 * w_KD.square().sum().item<double>();
  }

 private:
  std::int64_t width() const { return x_ND_.size(1); }

  at::Tensor x_ND_, target_NK_, offset_NK_;
  double share_, penalty_;
  std::int64_t classes_;
};

}  // namespace

at::Tensor LinearClassifier::logits(const at::Tensor& features_ND) const {
  return at::addmm(bias_K, features_ND.to(at::kDouble), weight_KD.t());
}

double accuracy(const LinearClassifier& classifier, const at::Tensor& features_ND,
                const at::Tensor& label_N) {
  const auto logits_NK = classifier.logits(features_ND);
  const auto own_N1 = logits_NK.gather(1, label_N.unsqueeze(1));
  const auto column_K = at::arange(logits_NK.size(1), label_N.options());
  const auto before_NK =
      (logits_NK <= own_N1)
          .logical_not_()
          .logical_or_((logits_NK == own_N1).logical_and_(column_K < label_N.unsqueeze(1)));
  return before_NK.any(1).logical_not_().to(at::kDouble).mean().item<double>();
}

LinearClassifier fit_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                         std::int64_t classes, double c, const at::Tensor& start_KD) {
  check(features_ND, label_N, classes);
  const Regression regression(features_ND, label_N, classes, c, start_KD);
  at::Tensor flat = at::zeros({regression.numbers()}, at::kDouble);
  optim::minimize_lbfgs([&](const at::Tensor& x, at::Tensor& gradient) { return regression(x, gradient); },
                        flat, {.gradient_tolerance = 1e-10});
  LinearClassifier classifier{regression.weight(flat).clone(), regression.bias(flat).clone()};
  if (start_KD.defined()) classifier.weight_KD.add_(start_KD.to(at::kDouble));
  return classifier;
}

ProbeSweep sweep_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                     std::int64_t classes, std::uint64_t seed,
                                     const std::function<void()>& poll) {
  check(features_ND, label_N, classes);
  const auto [held, fitted] = hold_out_fifth(label_N, classes, seed);
  if (held.numel() == 0 || fitted.numel() == 0)
    throw Error(ErrorKind::kInvalid,
                "no class of the probe's training data has two samples, so none can be held out to choose "
                "the penalty",
                "give train_data more samples per class");
  const auto fit_x = features_ND.index_select(0, fitted), fit_y = label_N.index_select(0, fitted);
  const auto held_x = features_ND.index_select(0, held), held_y = label_N.index_select(0, held);
  std::map<int, double> tried;
  const auto score = [&](int index) {
    if (index < 0 || index > kLastIndex || tried.contains(index)) return;
    if (poll) poll();
    tried[index] =
        accuracy(fit_logistic_regression(fit_x, fit_y, classes, 1 / lambda_of(index)), held_x, held_y);
  };
  const auto best = [&] {  // the strongest penalty among equals
    return std::max_element(tried.begin(), tried.end(),
                            [](const auto& a, const auto& b) { return a.second <= b.second; })
        ->first;
  };
  for (int index = 0; index <= kLastIndex; index += kFirstStride) score(index);
  for (int stride = kFirstStride / 2; stride > 0; stride /= 2) {
    const int peak = best();
    score(peak - stride);
    score(peak + stride);
  }
  if (poll) poll();
  const double c = 1 / lambda_of(best());
  return {c, tried.at(best()), fit_logistic_regression(features_ND, label_N, classes, c)};
}

}  // namespace trireme::worker::evaluation
