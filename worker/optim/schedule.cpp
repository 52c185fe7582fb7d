#include "worker/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trireme::worker::optim {
namespace {

double cosine(double from, double to, double done) {
  return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * done));
}

Rates one_cycle(const Schedule& schedule, std::int64_t step) {
  const OneCycle& cycle = schedule.one_cycle;
  const double last = std::max(1.0, static_cast<double>(schedule.total_steps) - 1);
  const double top =
      std::clamp(cycle.rise * static_cast<double>(schedule.total_steps) - 1, 0.0, last);  // knot of the peak
  const double at = std::min(static_cast<double>(step), last);
  const double start = schedule.peak / cycle.start_divisor, end = start / cycle.end_divisor;
  const bool up = at <= top && top > 0;
  const double done = up ? at / top : top < last ? (at - top) / (last - top) : 1;
  Rates result;
  result.learning_rate = up ? cosine(start, schedule.peak, done) : cosine(schedule.peak, end, done);
  result.beta1 = !cycle.cycle_beta1 ? schedule.beta1
                 : up               ? cosine(cycle.beta1_high, cycle.beta1_low, done)
                                    : cosine(cycle.beta1_low, cycle.beta1_high, done);
  return result;
}

}  // namespace

Rates rates(const Schedule& schedule, std::int64_t step) {
  if (schedule.shape == Shape::kOneCycle) return one_cycle(schedule, step);
  Rates result{schedule.peak, schedule.beta1};
  if (step < schedule.warmup_steps) {
    result.learning_rate *= static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
    return result;
  }
  const auto length = std::max<std::int64_t>(1, schedule.total_steps - schedule.warmup_steps);
  const double done =
      std::min(1.0, static_cast<double>(step - schedule.warmup_steps) / static_cast<double>(length));
  if (schedule.shape == Shape::kCosine) result.learning_rate *= 0.5 * (1 + std::cos(std::numbers::pi * done));
  if (schedule.shape == Shape::kLinear) result.learning_rate *= 1 - done;
  const auto since = std::min(step, schedule.total_steps - 1) - schedule.warmup_steps;
  const double decays =
      static_cast<double>(std::max<std::int64_t>(0, since)) / static_cast<double>(schedule.decay_steps);
  if (schedule.shape == Shape::kStep)
    result.learning_rate *= std::pow(schedule.decay_factor, std::floor(decays));
  if (schedule.shape == Shape::kExponential) result.learning_rate *= std::pow(schedule.decay_factor, decays);
  return result;
}

}  // namespace trireme::worker::optim
