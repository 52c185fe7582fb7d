#include "worker/optim/lbfgs.h"

#include <ATen/ATen.h>

#include <cmath>
#include <deque>
#include <limits>
#include <utility>

#include "common/base/error.h"

namespace trireme::worker::optim {
namespace {

double product(const at::Tensor& a, const at::Tensor& b) {
  return at::dot(a, b).item<double>();
}

struct Pair {
  at::Tensor step, change;  // s = x' - x, y = g' - g
  double inverse = 0;       // 1 / s.y
};

// The two-loop recursion: -H g.
at::Tensor direction(const std::deque<Pair>& pairs, const at::Tensor& gradient) {
  at::Tensor d = -gradient;
  std::vector<double> alpha(pairs.size());
  for (std::size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = pairs[i].inverse * product(pairs[i].step, d);
    d.sub_(pairs[i].change, alpha[i]);
  }
  if (!pairs.empty()) {
    const Pair& last = pairs.back();
    d.mul_(1 / (last.inverse * product(last.change, last.change)));
  }
  for (std::size_t i = 0; i < pairs.size(); ++i)
    d.add_(pairs[i].step, alpha[i] - pairs[i].inverse * product(pairs[i].change, d));
  return d;
}

struct Point {
  at::Tensor x, gradient;
  double value = 0;
};

// A point along d that is low enough and flat enough; false when rounding leaves none.
bool line_search(const Objective& objective, const Point& from, const at::Tensor& d, double first,
                 Point& found) {
  constexpr double kEnough = 1e-4, kFlat = 0.9;
  constexpr int kTrials = 50;
  const double slope = product(from.gradient, d);
  if (!(slope < 0)) return false;
  double low = 0, high = std::numeric_limits<double>::infinity(), t = first;
  for (int trial = 0; trial < kTrials; ++trial) {
    found.x = from.x + d * t;
    found.gradient = at::empty_like(from.gradient);
    found.value = objective(found.x, found.gradient);
    if (!(found.value <= from.value + kEnough * t * slope)) {
      high = t;
    } else if (product(found.gradient, d) < kFlat * slope) {
      low = t;
    } else {
      return true;
    }
    t = std::isinf(high) ? 2 * low : (low + high) / 2;
  }
  return found.value < from.value;
}

}  // namespace

LbfgsResult minimize_lbfgs(const Objective& objective, at::Tensor& x, const LbfgsOptions& options) {
  Point at{x.detach().clone(), at::empty_like(x), 0};
  at.value = objective(at.x, at.gradient);
  if (!std::isfinite(at.value))
    throw Error(ErrorKind::kInvalid, "the objective is not finite where L-BFGS begins",
                "look for NaN or infinity in the features");
  std::deque<Pair> pairs;
  LbfgsResult result;
  for (; result.iterations < options.max_iterations; ++result.iterations) {
    const double steepest = at.gradient.abs().max().item<double>();
    result.converged = steepest <= options.gradient_tolerance;
    if (result.converged) break;
    Point next;
    const double first = pairs.empty() ? std::min(1.0, 1 / at.gradient.norm().item<double>()) : 1;
    if (!line_search(objective, at, direction(pairs, at.gradient), first, next)) {
      result.converged = pairs.empty();
      if (result.converged) break;
      pairs.clear();  // once more along the gradient itself
      continue;
    }
    Pair pair{next.x - at.x, next.gradient - at.gradient, 0};
    const double curvature = product(pair.step, pair.change);
    if (curvature > 0) {
      pair.inverse = 1 / curvature;
      pairs.push_back(std::move(pair));
      if (pairs.size() > static_cast<std::size_t>(options.memory)) pairs.pop_front();
    }
    result.converged = at.value - next.value < options.value_tolerance * std::abs(at.value);
    at = std::move(next);
    if (result.converged) break;
  }
  x = at.x;
  result.value = at.value;
  return result;
}

}  // namespace trireme::worker::optim
