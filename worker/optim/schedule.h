// Learning rate and beta1 as pure functions of the step (METHODS 10.5).
//
//   cosine, linear, constant   linear from 0 over the warm-up; then down to 0 at the last step, or level.
//                              beta1 stays.
//   step, exponential          the same warm-up; then peak * factor^n, n whole (step) or broken (exponential)
//                              multiples of decay_steps since its end. ALIGN's fine-tuning is step, 0.2
//   one_cycle (Smith and Topin, 2019; torch's OneCycleLR, which ALIP uses)   knots at step 0,
//     rise * total - 1 and total - 1, a cosine between them, p = share of the phase that is done:
//     a -> b: b + (a - b)/2 (1 + cos(pi p)). Learning rate peak/start_divisor, peak,
//     peak/(start_divisor end_divisor); beta1 high, low, high when it is cycled.
#pragma once

#include <cstdint>

namespace trireme::worker::optim {

enum class Shape { kCosine, kLinear, kConstant, kOneCycle, kStep, kExponential };

struct OneCycle {
  double rise = 0.1;  // share of the steps that goes up
  double start_divisor = 25, end_divisor = 1e4;
  bool cycle_beta1 = true;
  double beta1_low = 0.85, beta1_high = 0.95;
};

struct Schedule {
  double peak = 5e-4;
  std::int64_t warmup_steps = 0;  // one_cycle: none
  std::int64_t total_steps = 1;   // warm-up included
  Shape shape = Shape::kCosine;
  double beta1 = 0.9;  // where nothing cycles it
  OneCycle one_cycle;
  std::int64_t decay_steps = 1;  // step, exponential
  double decay_factor = 1;
};

// What one update is made with.
struct Rates {
  double learning_rate = 0, beta1 = 0.9;
};

// `step`: 0-based number of the update; beyond the last one the values stay.
Rates rates(const Schedule& schedule, std::int64_t step);

}  // namespace trireme::worker::optim
