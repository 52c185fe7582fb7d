// The vectorised passes over a masked tile (cpu_masks.h): an entry of minus infinity takes no part.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/kernels/pair_tile/cpu_masks.h"

namespace trireme::worker::kernels {

struct PassOptions {
  double bias = 0;
  bool sigmoid = false, linear = false;
  double beta = 0;
  bool weight_gradient = true;
};

// Per line of one tile: max s, sum e^{(1+beta)(s-max)}, sum e^{beta(s-max)}, sum s. Sigmoid: linear is sum
// softplus(s+bias), the others stay.
template <class T>
struct LineSums {
  explicit LineSums(std::int64_t lines)
      : maximum(static_cast<std::size_t>(lines)), hard(maximum), base(maximum), linear(maximum) {}
  std::vector<T> maximum, hard, base, linear;
};

template <class T>
struct LineCoefficients {
  const T* data;
  std::int64_t lines;
  const T* of(Coefficient which) const { return data + which * lines; }
};

void sum_rows(const Panel<float>& panel, const PassOptions& options, LineSums<float>& sums);
void sum_rows(const Panel<double>& panel, const PassOptions& options, LineSums<double>& sums);
// `sums` has padded() lines.
void sum_columns(const Panel<float>& panel, const PassOptions& options, LineSums<float>& sums);
void sum_columns(const Panel<double>& panel, const PassOptions& options, LineSums<double>& sums);

// by_rows becomes dL/ds without positives (0 there and wherever nothing takes part); sums[0] += sum dL/ds *
// s, sums[1] += sum dL/ds. The panels may be one. `columns` has padded() lines.
void gradient_rows(const Panel<float>& by_rows, const Panel<float>& by_columns, const PassOptions& options,
                   const LineCoefficients<float>& rows, const LineCoefficients<float>& columns,
                   double sums[2]);
void gradient_rows(const Panel<double>& by_rows, const Panel<double>& by_columns, const PassOptions& options,
                   const LineCoefficients<double>& rows, const LineCoefficients<double>& columns,
                   double sums[2]);

}  // namespace trireme::worker::kernels
