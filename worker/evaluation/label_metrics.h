// Metrics of class scores beside top-k accuracy (METHODS 7.6, 7.8). Legend: N images, C classes.
//
//   mean average precision   CLIP_benchmark 1.6.2's: per class the mean, over the positives in the order of
//                            descending scores, of the precision at their rank; a class without a positive
//                            has 0 and counts; ties in the order of the samples
//   ROC AUC                  scikit-learn's: probability that a positive has the greater score, ties a half
//   macro F1                 mean over the classes that occur of 2 tp / (2 tp + fp + fn) (DataComp's
//   iWildCam) worst group              the least of a metric over groups (DataComp's FMoW, Dollar Street,
//   GeoDE)
//
// Throws kInvalid on shapes, on nothing to measure, and on scores that are not finite. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/evaluation/result.h"

namespace trireme::worker::evaluation {

// scores [N, C] any float type, targets [N, C] bool: float64 [C].
at::Tensor average_precision(const at::Tensor& score_NC, const at::Tensor& target_NC);

// score [N], positive [N] bool; both kinds must occur.
double roc_auc(const at::Tensor& score_N, const at::Tensor& positive_N);

// Labels and predictions int64 [N] in [0, classes).
double macro_f1(const at::Tensor& label_N, const at::Tensor& predicted_N, std::int64_t classes);

struct WorstGroup {
  std::string name;
  std::int64_t images = 0;
  double value = 0;
};
// Mean of hit_N (bool) in the group where it is least; of equal ones the first in the order of names.
WorstGroup worst_group(const std::vector<std::string>& group_N, const at::Tensor& hit_N);

// Scores of which one per row and column is right: rows images, columns captions, the i-th with the i-th of
// `pairs`. An image is right where its own caption has the strictly greatest score among all columns, a
// caption alike among the rows; a tie is wrong (METHODS 7.8).
struct Choice {
  bool text = false;   // every image prefers its own caption
  bool image = false;  // every caption prefers its own image; true with one image
  bool tied = false;   // a right score is met by a wrong one
};
Choice choose(const at::Tensor& score_RC);

// Three classes by two thresholds of one score, as SNLI-VE is measured here (METHODS 7.8; the papers' rule is
// not known). Labels: 0 entailment, 1 neutral, 2 contradiction.
struct Thresholds {
  double entailment = 0, contradiction = 0;  // score >= the first: 0; below the second: 2; else 1
  std::int64_t label(double score) const { return score >= entailment ? 0 : score < contradiction ? 2 : 1; }
};

// Those of the greatest accuracy; of equal ones the highest, of these the highest second. They lie halfway
// between scores that occur, or at infinity. Throws kInvalid on other labels, lists that differ in length,
// none, and scores that are not finite.
Thresholds choose_thresholds(const std::vector<double>& score, const std::vector<std::int64_t>& label);

// Share of scores whose label() is theirs. Throws as above.
double threshold_accuracy(const Thresholds& thresholds, const std::vector<double>& score,
                          const std::vector<std::int64_t>& label);

}  // namespace trireme::worker::evaluation
