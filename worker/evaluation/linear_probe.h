// Logistic regression on frozen features, as CLIP and ALIP measure it (METHODS 7.4) and as scikit-learn
// defines it:
//
//   min over W, b of  1/2 ||W||_F^2 + C sum_i CE(y_i, (W + W_0) x_i + b)        (b is not penalised)
//
// solved by L-BFGS in float64. W_0 = 0 but for a probe that starts at class prompts (few_shot.h), whose
// penalty then pulls towards them. Legend: N samples, K classes, D width.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::evaluation {

struct LinearClassifier {
  at::Tensor weight_KD, bias_K;  // float64

  at::Tensor logits(const at::Tensor& features_ND) const;  // [N, K] float64
};

// Share of samples whose largest logit is their label's; ties count for the smaller class.
double accuracy(const LinearClassifier& classifier, const at::Tensor& features_ND, const at::Tensor& label_N);

// features [N, D] any float type, label int64 [N] in [0, classes), c > 0. W_0 [K, D] or undefined. Throws
// kInvalid on shapes, labels and NaN.
LinearClassifier fit_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                         std::int64_t classes, double c, const at::Tensor& start_KD = {});

struct ProbeSweep {
  double c = 0;                    // the best on the held-out samples
  double validation_accuracy = 0;  // of a fit without them
  LinearClassifier classifier;     // fitted on all samples with that c
};

// lambda = 1/C over 97 values from 1e-6 to 1e6, 8 per decade: seven values two decades apart, then the
// interval round the best is halved four times (CLIP's parametric binary search). A fifth of each class,
// chosen by (seed, class, position), is held out; `poll` is called between fits and may throw.
ProbeSweep sweep_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                     std::int64_t classes, std::uint64_t seed,
                                     const std::function<void()>& poll = {});

}  // namespace trireme::worker::evaluation
