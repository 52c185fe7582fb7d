#include "worker/evaluation/linear_probe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/evaluation/class_draw.h"
#include "worker/kernels/threads.h"
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
  if (!std::isfinite(features_ND.sum(at::kDouble).item<double>()))  // without a mask as large as they are
    throw Error(ErrorKind::kInvalid, "the features of a probe hold NaN or infinity",
                "the model's weights or a picture's embedding hold NaN: trireme weights inspect");
}

constexpr std::int64_t kTileElements = std::int64_t{1} << 20;
constexpr double kFloat32Beyond = 1 << 22;  // numbers

// Rows of a data set that a fit or a test looks at, gathered tile by tile.
struct Rows {
  at::Tensor features_ND, label_N, index;  // index: int64 positions, undefined for all
  at::ScalarType math = at::kDouble;

  std::int64_t size() const { return index.defined() ? index.size(0) : label_N.size(0); }
  // `make` is given [x 1], [R, D + 1] in math, and labels [R], on as many threads as there may be; `take`
  // what it made, one after another.
  template <class Make, class Take>
  void tiles(std::int64_t classes, int threads, const Make& make, const Take& take) const {
    const std::int64_t width = features_ND.size(1);
    const std::int64_t rows = std::clamp<std::int64_t>(kTileElements / std::max(classes, width), 256, 16384);
    const auto tile = [&](std::int64_t first) {
      const std::int64_t count = std::min(rows, size() - first);
      const auto of = [&](const at::Tensor& all) {
        return index.defined() ? all.index_select(0, index.narrow(0, first, count))
                               : all.narrow(0, first, count);
      };
      at::Tensor x_RE = at::empty({count, width + 1}, math);
      x_RE.narrow(1, 0, width).copy_(of(features_ND));
      x_RE.select(1, width).fill_(1);
      return make(x_RE, of(label_N));
    };
    for (std::int64_t first = 0; first < size(); first += threads * rows) {
      const std::int64_t count = std::min<std::int64_t>(threads, (size() - first + rows - 1) / rows);
      std::vector<at::Tensor> made(static_cast<std::size_t>(count));
      kernels::over_blocks(count, 1, threads, [&](std::int64_t i, std::int64_t) {
        made[static_cast<std::size_t>(i)] = tile(first + i * rows);
      });
      for (const auto& one : made) take(one);
    }
  }
};

// All threads that torch has where this is made, each with operations of one thread: a library's own threads
// give other last bits, and a worker has more of them the fewer workers there are.
struct Threads {
  kernels::OneTorchThread one;
  int count() const { return one.before(); }
};

using Slots = std::vector<Rows>;

// leaf(slot, threads) of all slots of all workers, float64, added in pairs; the halves at once while there
// are threads for both.
template <class Leaf>
at::Tensor tree_sum(const Slots& slots, std::size_t first, std::size_t count, int threads, const Leaf& leaf) {
  if (count == 1) return leaf(slots[first], threads);
  std::array<at::Tensor, 2> half;
  kernels::over_blocks(2, 1, threads, [&](std::int64_t i, std::int64_t) {
    half[static_cast<std::size_t>(i)] = tree_sum(slots, first + static_cast<std::size_t>(i) * count / 2,
                                                 count / 2, std::max(1, threads / 2), leaf);
  });
  return half[0].add_(half[1]);
}
template <class Leaf>
at::Tensor total(const Slots& slots, const ProbeGang& gang, const Threads& threads, const Leaf& leaf) {
  at::Tensor all = tree_sum(slots, 0, slots.size(), threads.count(), leaf);
  if (gang.sum) gang.sum(all);
  return all;
}

double count_of(const Slots& slots, const ProbeGang& gang) {
  return total(slots, gang, {},
               [](const Rows& rows, int) {
                 return at::full({1}, static_cast<double>(rows.size()), at::kDouble);
               })
      .item<double>();
}

// Of all rows or the chosen ones. How they are multiplied depends on how many all workers have.
Slots slots_of(const at::Tensor& features_ND, const at::Tensor& label_N, const ProbeGang& gang,
               const at::Tensor& chosen_N = {}) {  // bool
  Slots slots;
  for (const auto& slot : gang.slots)
    slots.push_back({features_ND, label_N,
                     chosen_N.defined() ? slot.masked_select(chosen_N.index_select(0, slot)) : slot});
  if (slots.empty())
    slots.push_back(
        {features_ND, label_N, chosen_N.defined() ? chosen_N.nonzero().squeeze(1) : at::Tensor()});
  if (features_ND.scalar_type() == at::kFloat &&
      count_of(slots, gang) * static_cast<double>(features_ND.size(1)) > kFloat32Beyond)
    for (auto& slot : slots) slot.math = at::kFloat;
  return slots;
}

// sum CE of the rows and, behind one another in one tensor [K (D + 1) + 1], its gradient by [W b] before it.
at::Tensor cross_entropy(const Rows& rows, const at::Tensor& weights_KE, int threads) {
  const auto w_KE = weights_KE.to(rows.math);
  at::Tensor sums = at::zeros({w_KE.numel() + 1}, at::kDouble);
  const auto of_tile = [&](const at::Tensor& x_RE, const at::Tensor& label_R) {
    const auto logits_RK = x_RE.matmul(w_KE.t());
    const auto label_R1 = label_R.unsqueeze(1);
    at::Tensor share_RK = at::softmax(logits_RK, 1);
    // log sum exp of a row, by its largest share, which never vanishes
    const auto lse_R1 = logits_RK.amax(1, true) - share_RK.amax(1, true).log_();
    at::Tensor made = at::empty_like(sums);
    made[-1].copy_((lse_R1 - logits_RK.gather(1, label_R1)).sum(at::kDouble));
    share_RK.scatter_add_(1, label_R1, at::full_like(lse_R1, -1));
    made.narrow(0, 0, w_KE.numel()).view(w_KE.sizes()).copy_(share_RK.t().matmul(x_RE));
    return made;
  };
  rows.tiles(w_KE.size(0), threads, of_tile, [&](const at::Tensor& made) { sums.add_(made); });
  return sums;
}

// sum [x 1]^T [x 1].
at::Tensor second_moment(const Rows& rows, std::int64_t classes, int threads) {
  const std::int64_t width = rows.features_ND.size(1) + 1;
  at::Tensor moment_EE = at::zeros({width, width}, at::kDouble);
  rows.tiles(
      classes, threads, [](const at::Tensor& x_RE, const at::Tensor&) { return x_RE.t().matmul(x_RE); },
      [&](const at::Tensor& made) { moment_EE.add_(made); });
  return moment_EE;
}

// Value and gradient of the objective over C N, so that its scale does not depend on either, in coordinates
// U = [W b] L, where L L^T = s [x 1]^T [x 1] / N + penalty: the Hessian at W = 0, but for what ties the
// classes together. There every direction is about as steep as any other.
class Regression {
 public:
  Regression(Slots slots, std::int64_t classes, double c, const at::Tensor& start_KD, const ProbeGang& gang,
             const Threads& threads)
      : slots_(std::move(slots)),
        gang_(gang),
        threads_(threads),
        classes_(classes),
        count_(count_of(slots_, gang)) {
    penalty_ = 1 / (c * count_);
    if (start_KD.defined()) start_KD_ = start_KD.to(at::kDouble);
    at::Tensor moment = total(slots_, gang_, threads_, [&](const Rows& rows, int threads_here) {
      return second_moment(rows, classes, threads_here);
    });
    const auto share = static_cast<double>(classes - 1) / static_cast<double>(classes * classes);
    moment.mul_(std::max(share, 1e-12) / count_);
    moment.diagonal().narrow(0, 0, width()).add_(penalty_);
    moment.diagonal().add_(1e-9 * moment.diagonal().mean());  // of features that repeat one another
    inverse_ = at::linalg_inv(at::linalg_cholesky(moment)).contiguous();
  }

  std::int64_t numbers() const { return classes_ * (width() + 1); }
  // [W b], [K, D + 1].
  at::Tensor weights(const at::Tensor& flat) const {
    return flat.to(at::kDouble).view({classes_, width() + 1}).matmul(inverse_);
  }
  at::ScalarType math() const { return slots_.front().math; }
  double tolerance() const { return math() == at::kFloat ? 1e-7 : 0; }

  double operator()(const at::Tensor& flat, at::Tensor& gradient) const {
    const auto at_KE = weights(flat), w_KD = at_KE.narrow(1, 0, width());
    at::Tensor seen_KE = at_KE;
    if (start_KD_.defined()) (seen_KE = at_KE.clone()).narrow(1, 0, width()).add_(start_KD_);
    const auto sums = total(slots_, gang_, threads_, [&](const Rows& rows, int threads) {
      return cross_entropy(rows, seen_KE, threads);
    });
    const auto slope = sums.narrow(0, 0, numbers()).view({classes_, width() + 1}).div_(count_);
    slope.narrow(1, 0, width()).add_(w_KD, penalty_);
    gradient.view({classes_, width() + 1}).copy_(slope.matmul(inverse_.t()));
    return sums[numbers()].item<double>() / count_ + penalty_ / 2 * w_KD.square().sum().item<double>();
  }

 private:
  std::int64_t width() const { return slots_.front().features_ND.size(1); }

  Slots slots_;
  const ProbeGang& gang_;
  const Threads& threads_;
  std::int64_t classes_;
  double count_, penalty_ = 0;
  at::Tensor start_KD_, inverse_;  // L^-1
};

LinearClassifier fit(const Slots& slots, std::int64_t classes, double c, const at::Tensor& start_KD,
                     const ProbeGang& gang, const Threads& threads) {
  const Regression regression(slots, classes, c, start_KD, gang, threads);
  at::Tensor flat = at::zeros({regression.numbers()}, regression.math());
  optim::minimize_lbfgs([&](const at::Tensor& x, at::Tensor& gradient) { return regression(x, gradient); },
                        flat, {.gradient_tolerance = 1e-10, .value_tolerance = regression.tolerance()});
  const auto found = regression.weights(flat);
  const std::int64_t width = found.size(1) - 1;
  LinearClassifier classifier{found.narrow(1, 0, width).clone(), found.select(1, width).clone()};
  if (start_KD.defined()) classifier.weight_KD.add_(start_KD.to(at::kDouble));
  return classifier;
}

at::Tensor joined(const LinearClassifier& classifier) {  // [W b]
  return at::cat({classifier.weight_KD, classifier.bias_K.unsqueeze(1)}, 1);
}

// Whether each row's largest logit is its label's.
at::Tensor hits_of(const LinearClassifier& classifier, const Rows& rows, int threads) {
  const auto w_KE = joined(classifier).to(rows.math);
  std::vector<at::Tensor> hits = {at::empty({0}, at::kBool)};
  const auto column_K = at::arange(w_KE.size(0), at::kLong);
  const auto of_tile = [&](const at::Tensor& x_RE, const at::Tensor& label_R) {
    const auto logits_RK = x_RE.matmul(w_KE.t());
    const auto label_R1 = label_R.unsqueeze(1), own_R1 = logits_RK.gather(1, label_R1);
    return (logits_RK <= own_R1)
        .logical_not_()
        .logical_or_((logits_RK == own_R1).logical_and_(column_K < label_R1))
        .any(1)
        .logical_not_();
  };
  rows.tiles(w_KE.size(0), threads, of_tile, [&](const at::Tensor& made) { hits.push_back(made); });
  return at::cat(hits);
}

double accuracy(const LinearClassifier& classifier, const Slots& slots, const ProbeGang& gang,
                const Threads& threads) {
  const auto hits = total(slots, gang, threads, [&](const Rows& rows, int threads_here) {
    return hits_of(classifier, rows, threads_here).sum().to(at::kDouble).view({1});
  });
  return hits.item<double>() / count_of(slots, gang);
}

}  // namespace

at::Tensor sum_in_pairs(at::Tensor parts) {
  while (parts.size(0) > 1) {
    const auto pairs = parts.unflatten(0, {parts.size(0) / 2, 2});
    parts = pairs.select(1, 0) + pairs.select(1, 1);
  }
  return parts.select(0, 0);
}

at::Tensor LinearClassifier::logits(const at::Tensor& features_ND) const {
  return at::addmm(bias_K, features_ND.to(at::kDouble), weight_KD.t());
}

double accuracy(const LinearClassifier& classifier, const at::Tensor& features_ND,
                const at::Tensor& label_N) {
  return accuracy(classifier, slots_of(features_ND, label_N, {}), {}, {});
}

double mean_per_class_accuracy(const LinearClassifier& classifier, const at::Tensor& features_ND,
                               const at::Tensor& label_N) {
  const Threads threads;
  const auto hits =
      hits_of(classifier, slots_of(features_ND, label_N, {}).front(), threads.count()).to(at::kDouble);
  const auto seen = at::bincount(label_N), right = at::bincount(label_N, hits);
  return right.div(seen).masked_select(seen > 0).mean().item<double>();
}

double logistic_objective(const LinearClassifier& classifier, const at::Tensor& features_ND,
                          const at::Tensor& label_N, double c) {
  const auto count = static_cast<double>(label_N.size(0));
  const Threads threads;
  const auto sums =
      cross_entropy(slots_of(features_ND, label_N, {}).front(), joined(classifier), threads.count());
  return sums[-1].item<double>() / count +
         classifier.weight_KD.square().sum().item<double>() / (2 * c * count);
}

LinearClassifier fit_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                         std::int64_t classes, double c, const at::Tensor& start_KD,
                                         const ProbeGang& gang) {
  check(features_ND, label_N, classes);
  return fit(slots_of(features_ND, label_N, gang), classes, c, start_KD, gang, {});
}

ProbeSweep sweep_logistic_regression(const at::Tensor& features_ND, const at::Tensor& label_N,
                                     std::int64_t classes, std::uint64_t seed,
                                     const std::function<void()>& poll, const at::Tensor& held,
                                     const ProbeGang& gang) {
  check(features_ND, label_N, classes);
  const Threads threads;
  auto is_held = at::zeros({label_N.size(0)}, at::kBool);
  is_held.index_fill_(0, held.defined() ? held : hold_out_fifth(label_N, classes, seed).chosen, true);
  const Slots fitted = slots_of(features_ND, label_N, gang, is_held.logical_not()),
              validation = slots_of(features_ND, label_N, gang, is_held);
  if (count_of(validation, gang) == 0 || count_of(fitted, gang) == 0)
    throw Error(ErrorKind::kInvalid,
                "no class of the probe's training data has two samples, so none can be held out to choose "
                "the penalty",
                "give train_data more samples per class, or name validation_data");
  std::map<int, double> tried;
  const auto score = [&](int index) {
    if (index < 0 || index > kLastIndex || tried.contains(index)) return;
    if (poll) poll();
    tried[index] =
        accuracy(fit(fitted, classes, 1 / lambda_of(index), {}, gang, threads), validation, gang, threads);
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
  return {c, tried.at(best()), fit(slots_of(features_ND, label_N, gang), classes, c, {}, gang, threads)};
}

}  // namespace trireme::worker::evaluation
