// DiHT's few-shot probes (METHODS 2.6), four arms on the same samples:
//
//   zero_shot    logits = W_0 x, W_0 = class embeddings / temperature
//   probe        logistic regression that knows no prompt, with a penalty on W
//   prompt_l2    the same penalty on what is added to W_0
//   prompt_ball  min over ||W||_F <= delta, ||b||_2 <= delta of mean CE(y, (W + W_0) x + b), by projected
//                gradient descent with momentum from W = 0, b = 0: delta = 0 is the zero-shot classifier
//                exactly
//
// Penalty and delta are chosen by accuracy on samples that are in no draw, at most 16 of each class; of equal
// ones the stronger restraint. Legend: N samples, K classes, D width.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/evaluation/linear_probe.h"
#include "worker/evaluation/result.h"

namespace trireme::worker::evaluation {

// W * min(1, delta/||W||_F).
at::Tensor project_to_ball(const at::Tensor& weight, double delta);

// `steps` of projected gradient descent with step 1/L, L = (max ||x||^2 + 1)/2 bounding the curvature, and
// Nesterov's momentum (Beck and Teboulle's FISTA), which starts anew where the loss would rise: it never
// does. Unit features [N, D], float64 result.
LinearClassifier fit_in_ball(const at::Tensor& features_ND, const at::Tensor& label_N,
                             const at::Tensor& start_KD, double delta, int steps);

struct LabelledFeatures {
  at::Tensor features_ND;  // unit rows
  at::Tensor label_N;      // int64
};

struct FewShotOptions {
  std::vector<std::int64_t> shots = {1, 2, 4, 8, 16};
  std::int64_t seeds = 3;
  std::uint64_t seed = 0;
  double scale = 100;  // 1/temperature
  int steps = 300;     // of prompt_ball
};

struct FewShotResult {
  Metrics metrics;  // "zero_shot_acc1", then "<arm>_acc1@<shots>", means over the seeds
  Metrics spread;   // the same names, standard deviation over the seeds (n - 1)
};

// class_KD: unit class embeddings. `poll` is called between fits, by several
// threads at once, and may throw. The bits do not depend on how many threads torch has. Throws kInvalid when
// the training samples leave none to choose by.
FewShotResult few_shot(const LabelledFeatures& train, const LabelledFeatures& test,
                       const at::Tensor& class_KD, const FewShotOptions& options,
                       const std::function<void()>& poll = {});

}  // namespace trireme::worker::evaluation
