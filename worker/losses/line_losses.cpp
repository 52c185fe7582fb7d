#include "worker/losses/line_losses.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace trireme::worker::losses {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

LineLosses sigmoid(const Lines& lines, double share) {
  const at::Tensor sums =
      lines.statistics_7n[kernels::kNegativeLinear] + lines.statistics_7n[kernels::kPositiveLinear];
  const at::Tensor dead = lines.live_n.eq(0);
  LineLosses result{.loss_n = (lines.weight_n * sums).masked_fill(dead, 0)};
  result.coefficients_5n = at::zeros({kernels::kCoefficients, sums.size(0)}, sums.options());
  result.coefficients_5n[kernels::kHard].copy_((lines.weight_n * share).masked_fill(dead, 0));
  return result;
}

LineLosses softmax(const Lines& lines, const ContrastiveOptions& o, double share) {
  const auto statistic = [&](kernels::Statistic which) { return lines.statistics_7n[which]; };
  const at::Tensor maximum = statistic(kernels::kNegativeMax), alone = lines.negatives_n.eq(0);
  const at::Tensor positives = lines.positives_n.to(at::kDouble),
                   negatives = lines.negatives_n.to(at::kDouble);
  const bool hard = o.beta > 0, through_weights = hard && !o.detach_weights;

  // ln sum e^{(1+beta)s} and ln sum e^{beta s} over K(i); the denominator's two parts; ln D.
  const at::Tensor ln_hard = maximum * (1 + o.beta) + statistic(kernels::kNegativeHard).log();
  const at::Tensor ln_base =
      hard ? maximum * o.beta + statistic(kernels::kNegativeBase).log() : at::zeros_like(ln_hard);
  const at::Tensor ln_negative =
      (hard ? negatives.log() + ln_hard - ln_base : ln_hard).masked_fill(alone, kNone);
  const at::Tensor ln_positive =
      statistic(kernels::kPositiveMax) + statistic(kernels::kPositiveSum).log() + std::log(o.alpha);
  const at::Tensor ln_d = at::logaddexp(ln_negative, ln_positive);

  const at::Tensor spread = o.smoothing / (positives + negatives), sharp = (1 - o.smoothing) / positives;
  const at::Tensor linear = statistic(kernels::kPositiveLinear);
  const at::Tensor matched = sharp * linear + spread * (linear + statistic(kernels::kNegativeLinear));
  const at::Tensor dead = lines.live_n.eq(0);
  LineLosses result{.loss_n = (lines.weight_n * (ln_d - matched)).masked_fill(dead, 0)};

  const at::Tensor weight = lines.weight_n * share, ln_weight = weight.log();
  const at::Tensor ln_share = ln_weight + ln_negative - ln_d;  // of the negatives, times the weight
  const at::Tensor ln_slope = ln_share - ln_hard + (through_weights ? std::log1p(o.beta) : 0);
  const at::Tensor ln_back =
      through_weights ? ln_share - ln_base + std::log(o.beta) : at::full_like(ln_share, kNone);
  result.coefficients_5n =
      at::stack({ln_slope.masked_fill(alone, kNone).masked_fill(dead, kNone),
                 ln_back.masked_fill(alone, kNone).masked_fill(dead, kNone),
                 (ln_weight - ln_d + std::log(o.alpha)).masked_fill(dead, kNone),
                 (weight * spread).masked_fill(dead, 0), (weight * (sharp + spread)).masked_fill(dead, 0)});
  return result;
}

LineLosses of_lines(const Lines& lines, const ContrastiveOptions& options, double share) {
  return options.kind == ContrastiveKind::kSigmoid ? sigmoid(lines, share) : softmax(lines, options, share);
}

// What torch's loops leave over of whole vectors is computed by other functions, which may differ in the last
// bit: so that a line's value does not depend on how many stand beside it, there is never a remainder.
constexpr std::int64_t kWholeVectors = 64;

}  // namespace

LineLosses line_losses(const Lines& lines, const ContrastiveOptions& options, double share) {
  const std::int64_t n = lines.live_n.size(0), more = (kWholeVectors - n % kWholeVectors) % kWholeVectors;
  if (more == 0) return of_lines(lines, options, share);
  const auto dead = [&](const at::Tensor& values, double value) {
    return at::constant_pad_nd(values, {0, more}, value);
  };
  LineLosses whole = of_lines({.statistics_7n = dead(lines.statistics_7n, 1),
                               .live_n = dead(lines.live_n, 0),
                               .weight_n = dead(lines.weight_n, 0),
                               .positives_n = dead(lines.positives_n, 1),
                               .negatives_n = dead(lines.negatives_n, 0)},
                              options, share);
  return {.loss_n = whole.loss_n.narrow(0, 0, n), .coefficients_5n = whole.coefficients_5n.narrow(1, 0, n)};
}

at::Tensor losses_of_slots(const at::Tensor& losses, std::int64_t slots, std::int64_t pairs) {
  at::Tensor sums = at::zeros({slots, pairs}, at::kDouble);
  const std::int64_t n = losses.size(1), rows = n / slots, directions = losses.size(0) / pairs;
  const auto* loss = losses.const_data_ptr<double>();
  auto* sum = sums.data_ptr<double>();
  for (std::int64_t list = 0; list < losses.size(0); ++list)
    for (std::int64_t i = 0; i < n; ++i, ++loss) sum[i / rows * pairs + list / directions] += *loss;
  return sums;
}

}  // namespace trireme::worker::losses
