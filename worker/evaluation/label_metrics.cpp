#include "worker/evaluation/label_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::evaluation {
namespace {

void need(bool fine, const std::string& what) {
  if (!fine) throw Error(ErrorKind::kInvalid, what);
}

void need_finite(const at::Tensor& scores) {
  const auto bad = at::isfinite(scores).logical_not().sum().item<std::int64_t>();
  if (bad > 0)
    throw Error(ErrorKind::kInvalid,
                std::to_string(bad) + " of " + std::to_string(scores.numel()) + " scores are not finite",
                "the model's weights or a picture's embedding hold NaN: trireme weights inspect");
}

void check_scores(const std::vector<double>& score, const std::vector<std::int64_t>& label) {
  if (score.empty() || score.size() != label.size())
    throw Error(ErrorKind::kInvalid, "entailment needs one label per score: " + std::to_string(score.size()) +
                                         " scores, " + std::to_string(label.size()) + " labels");
  for (const auto one : label)
    if (one < 0 || one > 2)
      throw Error(ErrorKind::kInvalid, "label " + std::to_string(one) + " is outside the 3 classes",
                  "0 is entailment, 1 neutral, 2 contradiction");
  if (!std::ranges::all_of(score, [](double value) { return std::isfinite(value); }))
    throw Error(ErrorKind::kInvalid, "scores of entailment are not finite",
                "the model's weights or a picture's embedding hold NaN: trireme weights inspect");
}

}  // namespace

at::Tensor average_precision(const at::Tensor& score_NC, const at::Tensor& target_NC) {
  need(score_NC.dim() == 2 && score_NC.sizes() == target_NC.sizes() && score_NC.numel() > 0,
       "average precision needs scores and targets [N, C]");
  need_finite(score_NC);
  const auto count = score_NC.size(0);
  const auto rank_N1 = at::arange(1, count + 1, at::kDouble).unsqueeze(1);
  const auto order_NC = score_NC.cpu().argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  const auto truth_NC = target_NC.cpu().to(at::kDouble).gather(0, order_NC);
  const auto precision_NC = truth_NC.cumsum(0) / rank_N1;
  return (precision_NC * truth_NC).sum(0) / truth_NC.sum(0).clamp_min(1);
}

double roc_auc(const at::Tensor& score_N, const at::Tensor& positive_N) {
  need(score_N.dim() == 1 && score_N.sizes() == positive_N.sizes(), "ROC AUC needs one truth per score");
  need_finite(score_N);
  const auto scores = score_N.cpu().to(at::kDouble), positive = positive_N.cpu().to(at::kBool);
  const auto good = std::get<0>(scores.masked_select(positive).sort());
  const auto bad = std::get<0>(scores.masked_select(positive.logical_not()).sort());
  need(good.numel() > 0 && bad.numel() > 0, "ROC AUC needs positives and negatives: there are " +
                                                std::to_string(good.numel()) + " and " +
                                                std::to_string(bad.numel()));
  // Negatives below each positive, and those equal to it by half.
  const auto below = at::searchsorted(bad, good), up_to = at::searchsorted(bad, good, false, /*right=*/true);
  const double wins = (below + up_to).sum().item<std::int64_t>() / 2.0;
  return wins / (static_cast<double>(good.numel()) * static_cast<double>(bad.numel()));
}

double macro_f1(const at::Tensor& label_N, const at::Tensor& predicted_N, std::int64_t classes) {
  need(label_N.dim() == 1 && label_N.sizes() == predicted_N.sizes() && label_N.numel() > 0,
       "macro F1 needs one prediction per label");
  const auto label = label_N.cpu(), predicted = predicted_N.cpu();
  const auto hit = (label == predicted).to(at::kDouble);
  const auto seen_C = at::bincount(label, {}, classes).to(at::kDouble);
  const auto said_C = at::bincount(predicted, {}, classes).to(at::kDouble);
  const auto right_C = at::bincount(label, hit, classes);
  const auto occurs_C = seen_C > 0;
  return (2 * right_C.masked_select(occurs_C) / (seen_C + said_C).masked_select(occurs_C))
      .mean()
      .item<double>();
}

WorstGroup worst_group(const std::vector<std::string>& group_N, const at::Tensor& hit_N) {
  need(!group_N.empty() && static_cast<std::int64_t>(group_N.size()) == hit_N.size(0),
       "worst group needs one group per image");
  const auto hits = hit_N.cpu().to(at::kBool).contiguous();
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> seen;  // hits, images
  for (std::size_t i = 0; i < group_N.size(); ++i) {
    auto& [right, all] = seen[group_N[i]];
    right += hits.const_data_ptr<bool>()[i] ? 1 : 0;
    ++all;
  }
  WorstGroup worst{"", 0, std::numeric_limits<double>::infinity()};
  for (const auto& [name, counts] : seen) {
    const double value = static_cast<double>(counts.first) / static_cast<double>(counts.second);
    if (value < worst.value) worst = {name, counts.second, value};
  }
  return worst;
}

Choice choose(const at::Tensor& score_RC) {
  need(score_RC.dim() == 2 && score_RC.numel() > 0, "a choice needs scores [images, captions]");
  need_finite(score_RC);
  const auto score = score_RC.cpu();
  const auto pairs = std::min(score.size(0), score.size(1));
  Choice result{true, true, false};
  for (std::int64_t i = 0; i < pairs; ++i) {
    const double own = score[i][i].item<double>();
    const auto meets = [&](const at::Tensor& all) {  // how many are at least as great, the own one left out
      result.tied = result.tied || (all == own).sum().item<std::int64_t>() > 1;
      return (all >= own).sum().item<std::int64_t>() - 1;
    };
    if (meets(score[i]) > 0) result.text = false;
    if (meets(score.select(1, i)) > 0) result.image = false;
  }
  return result;
}

Thresholds choose_thresholds(const std::vector<double>& score, const std::vector<std::int64_t>& label) {
  check_scores(score, label);
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, std::ranges::greater(), [&](std::size_t i) { return score[i]; });
  // With the first i scores entailment, the next up to j neutral: right are (E - N)(i) + (N - C)(j) + all C.
  std::array<std::int64_t, 3> seen{};
  std::size_t best_first = 0, first = 0, best_second = 0;
  std::int64_t most = std::numeric_limits<std::int64_t>::min(), most_first = 0;
  for (std::size_t at = 0; at <= order.size(); ++at) {
    const bool boundary = at == 0 || at == order.size() || score[order[at]] != score[order[at - 1]];
    if (boundary) {
      if (seen[0] - seen[1] > most_first || at == 0) most_first = seen[0] - seen[1], first = at;
      if (most_first + seen[1] - seen[2] > most) {
        most = most_first + seen[1] - seen[2];
        best_first = first;
        best_second = at;
      }
    }
    if (at < order.size()) ++seen[static_cast<std::size_t>(label[order[at]])];
  }
  const auto threshold = [&](std::size_t count) {
    if (count == 0) return std::numeric_limits<double>::infinity();
    if (count == order.size()) return -std::numeric_limits<double>::infinity();
    return (score[order[count - 1]] + score[order[count]]) / 2;
  };
  return {threshold(best_first), threshold(best_second)};
}

double threshold_accuracy(const Thresholds& thresholds, const std::vector<double>& score,
                          const std::vector<std::int64_t>& label) {
  check_scores(score, label);
  std::int64_t right = 0;
  for (std::size_t i = 0; i < score.size(); ++i) right += thresholds.label(score[i]) == label[i] ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(score.size());
}

}  // namespace trireme::worker::evaluation
