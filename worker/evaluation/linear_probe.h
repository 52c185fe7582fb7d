// Logistic regression on frozen features, as CLIP and ALIP measure it (METHODS 7.4) and as scikit-learn
// defines it:
//
//   min over W, b of  1/2 ||W||_F^2 + C sum_i CE(y_i, (W + W_0) x_i + b)        (b is not penalised)
//
// solved by L-BFGS in coordinates in which the curvature at W = 0 is the identity, tile by tile. In float64;
// features of float32 with more than 2^22 numbers are multiplied in float32, sums stay float64, and the end
// is where an iteration gains less than 1e-7 of the objective. W_0 = 0 but for a probe that starts at class
// prompts (few_shot.h), whose penalty then pulls towards them. Memory beside the features: a tile and W in
// float64 per thread, 25 times W in the type that is multiplied in, and 8 times in float64.
//
// Data parallel: each worker has rows of its own, in slots of which all workers together have a power of two.
// A tree over the slots adds up what they give, so that the result depends on the slots and not on who has
// which, nor on how many threads who has: each tile is one thread's. Legend: N samples, K classes, D width.
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

// What this worker has among several.
struct ProbeGang {
  std::vector<at::Tensor> slots;  // int64 positions of its rows, slot by slot; a power of two of them
  // Puts into a float64 tensor the sum over all workers, added in pairs: every worker calls it in the same
  // order. Empty: there is one worker.
  std::function<void(at::Tensor&)> sum;
};

// a[0] + a[1], a[2] + a[3] …, until one is left: [2^n, …] -> […].
at::Tensor sum_in_pairs(at::Tensor parts);

// Share of samples whose largest logit is their label's; ties count for the smaller class.
double accuracy(const LinearClassifier& classifier, const at::Tensor& features_ND, const at::Tensor& label_N);
// Mean over the classes that occur of that share.
double mean_per_class_accuracy(const LinearClassifier& classifier, const at::Tensor& features_ND,
                               const at::Tensor& label_N);

// features [N, D] any float type, label int64 [N] in [0, classes), c > 0. W_0 [K, D] or undefined. Throws
// kInvalid on shapes, labels and NaN.
LinearClassifier fit_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                         std::int64_t classes, double c, const at::Tensor& start_KD = {},
                                         const ProbeGang& gang = {});

// The objective above over (C N), at a classifier; what a fit minimises.
double logistic_objective(const LinearClassifier& classifier, const at::Tensor& features_ND,
                          const at::Tensor& label_N, double c);

struct ProbeSweep {
  double c = 0;                    // the best on the held-out samples
  double validation_accuracy = 0;  // of a fit without them
  LinearClassifier classifier;     // fitted on all samples with that c
};

// lambda = 1/C over 97 values from 1e-6 to 1e6, 8 per decade: seven values two decades apart, then the
// interval round the best is halved four times (CLIP's parametric binary search). Held out are this worker's
// rows `held`, int64 positions, or, undefined, a fifth of each class, chosen by (seed, class, position);
// `poll` is called between fits and may throw.
ProbeSweep sweep_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                     std::int64_t classes, std::uint64_t seed,
                                     const std::function<void()>& poll = {}, const at::Tensor& held = {},
                                     const ProbeGang& gang = {});

}  // namespace trireme::worker::evaluation
