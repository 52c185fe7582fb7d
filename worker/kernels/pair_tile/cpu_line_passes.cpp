// Every function that is compiled per machine (target_clones) calls only what is inlined into it.
#pragma GCC diagnostic ignored "-Wpsabi"
#include "worker/kernels/pair_tile/cpu_line_passes.h"

#include <algorithm>
#include <limits>

#include "worker/kernels/pair_tile/lanes.h"

#define TRIREME_PER_MACHINE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

namespace trireme::worker::kernels {
namespace {

template <class T>
constexpr T kOut = -std::numeric_limits<T>::infinity();

// Minus infinity as a maximum would make NaN of entries that take no part.
template <class T>
TRIREME_LANES_INLINE Vector<T> finite_or_zero(Vector<T> maximum) {
  return maximum == kOut<T> ? Vector<T>{} : maximum;
}

template <class T>
TRIREME_LANES_INLINE Vector<T> zero_where_out(Vector<T> s, Vector<T> value) {
  return s == kOut<T> ? Vector<T>{} : value;
}

template <class T>
TRIREME_LANES_INLINE T row_maximum(const T* row, std::int64_t padded) {
  Vector<T> most = Vector<T>{} + kOut<T>;
  for (std::int64_t j = 0; j < padded; j += kLanes<T>) {
    const Vector<T> s = load(row + j);
    most = s > most ? s : most;
  }
  return largest<T>(most);
}

template <class T, bool kHardNegatives, bool kLinearSum>
TRIREME_LANES_INLINE void softmax_row(const T* row, std::int64_t padded, T beta, T& maximum, T& hard, T& base,
                                      T& linear) {
  maximum = row_maximum(row, padded);
  const T shift = maximum == kOut<T> ? 0 : maximum;
  Vector<T> hard_sum{}, base_sum{}, linear_sum{};
  for (std::int64_t j = 0; j < padded; j += kLanes<T>) {
    const Vector<T> s = load(row + j), d = s - shift;
    if constexpr (kHardNegatives) {
      hard_sum += exp(d * (1 + beta));
      base_sum += exp(d * beta);
    } else {
      hard_sum += exp(d);
    }
    if constexpr (kLinearSum) linear_sum += zero_where_out<T>(s, s);
  }
  hard = sum<T>(hard_sum);
  base = sum<T>(base_sum);
  linear = sum<T>(linear_sum);
}

template <class T>
TRIREME_LANES_INLINE void sigmoid_row(const T* row, std::int64_t padded, T bias, T& linear) {
  Vector<T> total{};
  for (std::int64_t j = 0; j < padded; j += kLanes<T>) total += softplus(load(row + j) + bias);
  linear = sum<T>(total);
}

template <class T>
TRIREME_LANES_INLINE void all_rows(const Panel<T>& panel, const PassOptions& o, LineSums<T>& sums) {
  const T beta = static_cast<T>(o.beta);
  for (std::int64_t i = 0; i < panel.rows; ++i) {
    const T* row = panel.row(i);
    const auto padded = panel.padded();
    T &maximum = sums.maximum.data()[i], &hard = sums.hard.data()[i], &base = sums.base.data()[i],
      &linear = sums.linear.data()[i];
    if (o.sigmoid)
      sigmoid_row(row, padded, static_cast<T>(o.bias), linear);
    else if (beta > 0 && o.linear)
      softmax_row<T, true, true>(row, padded, beta, maximum, hard, base, linear);
    else if (beta > 0)
      softmax_row<T, true, false>(row, padded, beta, maximum, hard, base, linear);
    else if (o.linear)
      softmax_row<T, false, true>(row, padded, beta, maximum, hard, base, linear);
    else
      softmax_row<T, false, false>(row, padded, beta, maximum, hard, base, linear);
  }
}

template <class T, bool kHardNegatives, bool kLinearSum>
TRIREME_LANES_INLINE void softmax_columns(const Panel<T>& panel, T beta, LineSums<T>& sums) {
  T *maximum = sums.maximum.data(), *hard = sums.hard.data(), *base = sums.base.data(),
    *linear = sums.linear.data();
  const auto padded = panel.padded();
  std::fill_n(maximum, padded, kOut<T>);
  for (std::int64_t i = 0; i < panel.rows; ++i)
    for (std::int64_t j = 0; j < padded; j += kLanes<T>) {
      const Vector<T> s = load(panel.row(i) + j), most = load(maximum + j);
      store<T>(maximum + j, s > most ? s : most);
    }
  for (std::int64_t i = 0; i < panel.rows; ++i)
    for (std::int64_t j = 0; j < padded; j += kLanes<T>) {
      const Vector<T> s = load(panel.row(i) + j), d = s - finite_or_zero<T>(load(maximum + j));
      if constexpr (kHardNegatives) {
        store<T>(hard + j, load(hard + j) + exp(d * (1 + beta)));
        store<T>(base + j, load(base + j) + exp(d * beta));
      } else {
        store<T>(hard + j, load(hard + j) + exp(d));
      }
      if constexpr (kLinearSum) store<T>(linear + j, load(linear + j) + zero_where_out<T>(s, s));
    }
}

template <class T>
TRIREME_LANES_INLINE void all_columns(const Panel<T>& panel, const PassOptions& o, LineSums<T>& sums) {
  const T beta = static_cast<T>(o.beta), bias = static_cast<T>(o.bias);
  if (o.sigmoid) {
    T* linear = sums.linear.data();
    for (std::int64_t i = 0; i < panel.rows; ++i)
      for (std::int64_t j = 0; j < panel.padded(); j += kLanes<T>)
        store<T>(linear + j, load(linear + j) + softplus(load(panel.row(i) + j) + bias));
  } else if (beta > 0 && o.linear) {
    softmax_columns<T, true, true>(panel, beta, sums);
  } else if (beta > 0) {
    softmax_columns<T, true, false>(panel, beta, sums);
  } else if (o.linear) {
    softmax_columns<T, false, true>(panel, beta, sums);
  } else {
    softmax_columns<T, false, false>(panel, beta, sums);
  }
}

// A line's part of dL/ds on negatives.
template <class T, bool kHardNegatives, bool kWeights>
TRIREME_LANES_INLINE Vector<T> negative_part(Vector<T> s, T beta, Vector<T> hard, Vector<T> base,
                                             Vector<T> uniform) {
  Vector<T> part;
  if constexpr (kHardNegatives) {
    part = exp(s * (1 + beta) + hard);
    if constexpr (kWeights) part -= exp(s * beta + base);
  } else {
    part = exp(s + hard);
  }
  return zero_where_out<T>(s, part - uniform);
}

template <class T, bool kHardNegatives, bool kWeights>
TRIREME_LANES_INLINE void softmax_gradient(const Panel<T>& by_rows, const Panel<T>& by_columns, T beta,
                                           const LineCoefficients<T>& rows,
                                           const LineCoefficients<T>& columns, double sums[2]) {
  for (std::int64_t i = 0; i < by_rows.rows; ++i) {
    const Vector<T> hard = Vector<T>{} + rows.of(kHard)[i], base = Vector<T>{} + rows.of(kBase)[i],
                    uniform = Vector<T>{} + rows.of(kUniform)[i];
    T* row = by_rows.row(i);
    const T* other = by_columns.row(i);
    Vector<T> with_s{}, plain{};
    for (std::int64_t j = 0; j < by_rows.padded(); j += kLanes<T>) {
      const Vector<T> s = load(row + j), c = load(other + j);
      const Vector<T> of_row = negative_part<T, kHardNegatives, kWeights>(s, beta, hard, base, uniform);
      const Vector<T> of_column = negative_part<T, kHardNegatives, kWeights>(
          c, beta, load(columns.of(kHard) + j), load(columns.of(kBase) + j), load(columns.of(kUniform) + j));
      with_s += zero_where_out<T>(s, of_row * s) + zero_where_out<T>(c, of_column * c);
      plain += of_row + of_column;
      store<T>(row + j, of_row + of_column);
    }
    sums[0] += static_cast<double>(sum<T>(with_s));
    sums[1] += static_cast<double>(sum<T>(plain));
  }
}

template <class T>
TRIREME_LANES_INLINE void sigmoid_gradient(const Panel<T>& by_rows, const Panel<T>& by_columns, T bias,
                                           const LineCoefficients<T>& rows,
                                           const LineCoefficients<T>& columns, double sums[2]) {
  for (std::int64_t i = 0; i < by_rows.rows; ++i) {
    const T weight = rows.of(kHard)[i];
    T* row = by_rows.row(i);
    const T* other = by_columns.row(i);
    Vector<T> with_s{}, plain{};
    for (std::int64_t j = 0; j < by_rows.padded(); j += kLanes<T>) {
      const Vector<T> s = load(row + j), c = load(other + j);
      const Vector<T> of_row = zero_where_out<T>(s, sigmoid(s + bias) * weight);
      const Vector<T> of_column = zero_where_out<T>(c, sigmoid(c + bias) * load(columns.of(kHard) + j));
      with_s += zero_where_out<T>(s, of_row * s) + zero_where_out<T>(c, of_column * c);
      plain += of_row + of_column;
      store<T>(row + j, of_row + of_column);
    }
    sums[0] += static_cast<double>(sum<T>(with_s));
    sums[1] += static_cast<double>(sum<T>(plain));
  }
}

template <class T>
TRIREME_LANES_INLINE void any_gradient(const Panel<T>& by_rows, const Panel<T>& by_columns,
                                       const PassOptions& o, const LineCoefficients<T>& rows,
                                       const LineCoefficients<T>& columns, double sums[2]) {
  const T beta = static_cast<T>(o.beta);
  if (o.sigmoid)
    sigmoid_gradient<T>(by_rows, by_columns, static_cast<T>(o.bias), rows, columns, sums);
  else if (beta == 0)
    softmax_gradient<T, false, false>(by_rows, by_columns, beta, rows, columns, sums);
  else if (o.weight_gradient)
    softmax_gradient<T, true, true>(by_rows, by_columns, beta, rows, columns, sums);
  else
    softmax_gradient<T, true, false>(by_rows, by_columns, beta, rows, columns, sums);
}

}  // namespace

TRIREME_PER_MACHINE void sum_rows(const Panel<float>& panel, const PassOptions& options,
                                  LineSums<float>& sums) {
  all_rows(panel, options, sums);
}
TRIREME_PER_MACHINE void sum_rows(const Panel<double>& panel, const PassOptions& options,
                                  LineSums<double>& sums) {
  all_rows(panel, options, sums);
}
TRIREME_PER_MACHINE void sum_columns(const Panel<float>& panel, const PassOptions& options,
                                     LineSums<float>& sums) {
  all_columns(panel, options, sums);
}
TRIREME_PER_MACHINE void sum_columns(const Panel<double>& panel, const PassOptions& options,
                                     LineSums<double>& sums) {
  all_columns(panel, options, sums);
}
TRIREME_PER_MACHINE void gradient_rows(const Panel<float>& by_rows, const Panel<float>& by_columns,
                                       const PassOptions& options, const LineCoefficients<float>& rows,
                                       const LineCoefficients<float>& columns, double sums[2]) {
  any_gradient(by_rows, by_columns, options, rows, columns, sums);
}
TRIREME_PER_MACHINE void gradient_rows(const Panel<double>& by_rows, const Panel<double>& by_columns,
                                       const PassOptions& options, const LineCoefficients<double>& rows,
                                       const LineCoefficients<double>& columns, double sums[2]) {
  any_gradient(by_rows, by_columns, options, rows, columns, sums);
}

}  // namespace trireme::worker::kernels
