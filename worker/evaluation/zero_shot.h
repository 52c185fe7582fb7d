// Zero-shot classification with prompt ensembles (METHODS 7.1), metrics as CLIP_benchmark 1.6.1 defines them.
// Legend: N images, C classes, P prompts per class, D width.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/evaluation/result.h"

namespace trireme::worker::evaluation {

// Every class name filled into every template ("{c}"), class by class: C*P prompts.
std::vector<std::string> class_prompts(const std::vector<std::string>& classes,
                                       const std::vector<std::string>& templates);

// [C*P, D] prompt embeddings in the order of class_prompts() -> [C, D]: each L2-normalised, mean over the
// prompts of a class, L2-normalised again. Throws kInvalid when the rows do not divide by `classes`.
at::Tensor class_embeddings(const at::Tensor& prompt_embeddings, std::int64_t classes);

// acc1, acc5 (only with 5 classes or more) and mean_per_class_recall (mean over the classes that occur, as
// sklearn's balanced accuracy). The class of rank r has r classes before it: a greater dot product, or an
// equal one with a smaller index; a NaN score is a miss. Throws kInvalid on labels outside [0, C), shapes
// that do not fit and N = 0.
Metrics zero_shot_metrics(const at::Tensor& image_ND, const at::Tensor& class_CD, const at::Tensor& label_N);

// Rank from 0 of each image's own class, int64 [N], as above; and the class with rank 0, the smaller of equal
// ones. Checks as zero_shot_metrics().
struct ClassRanks {
  at::Tensor own_N, first_N;
  std::int64_t tied = 0;  // images whose own class has an equal
};
ClassRanks class_ranks(const at::Tensor& image_ND, const at::Tensor& class_CD, const at::Tensor& label_N);

// The same names with what guessing gives: 1/C, 5/C, 1/C.
Metrics zero_shot_chance(std::int64_t classes);

}  // namespace trireme::worker::evaluation
