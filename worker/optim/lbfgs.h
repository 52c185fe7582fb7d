// L-BFGS for smooth objectives of moderate size: probes on stored features (Nocedal and Wright, Numerical
// Optimization, 2nd ed., algorithm 7.5), with the bisection line search of Lewis and Overton (2013) for the
// weak Wolfe conditions. Deterministic; one thread calls it.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

namespace trireme::worker::optim {

// Value at x [n]; writes the gradient [n] into `gradient`. Both have the type of the start, float64 or, where
// memory counts and the value is no more exact than that, float32.
using Objective = std::function<double(const at::Tensor& x, at::Tensor& gradient)>;

struct LbfgsOptions {
  int memory = 10;
  int max_iterations = 1000;
  double gradient_tolerance = 1e-8;  // largest absolute element
  double value_tolerance = 0;        // relative decrease in one iteration; 0: whatever it is
};

struct LbfgsResult {
  double value = 0;
  int iterations = 0;
  bool converged = false;  // a tolerance is reached, or no step makes the value smaller
};

// Minimises from x and leaves the best point in x. Throws kInvalid when the value at the start is not finite.
LbfgsResult minimize_lbfgs(const Objective& objective, at::Tensor& x, const LbfgsOptions& options = {});

}  // namespace trireme::worker::optim
