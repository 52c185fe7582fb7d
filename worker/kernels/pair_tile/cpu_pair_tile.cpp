#include "worker/kernels/pair_tile/cpu_pair_tile.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "worker/kernels/pair_tile/cpu_line_passes.h"
#include "worker/kernels/pair_tile/cpu_masks.h"

namespace trireme::worker::kernels {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

// Running sums relative to a running maximum, rescaled when it grows.
struct RunningStatistics {
  double* values;  // [kStatistics, lines]
  std::int64_t lines;
  double& at(Statistic which, std::int64_t line) const { return values[which * lines + line]; }

  void add_negatives(std::int64_t line, double maximum, double hard, double base, double beta) const {
    if (maximum == kNone && hard == 0) return;
    double& most = at(kNegativeMax, line);
    const double now = std::max(most, maximum);
    const double before = std::exp(most - now), after = std::exp(maximum - now);
    if (beta == 0) {
      at(kNegativeHard, line) = at(kNegativeHard, line) * before + hard * after;
    } else {
      const double base_before = std::exp(beta * (most - now)), base_after = std::exp(beta * (maximum - now));
      at(kNegativeHard, line) = at(kNegativeHard, line) * before * base_before + hard * after * base_after;
      at(kNegativeBase, line) = at(kNegativeBase, line) * base_before + base * base_after;
    }
    most = now;
  }
  void add_positive(std::int64_t line, double s) const {
    double& most = at(kPositiveMax, line);
    const double now = std::max(most, s);
    at(kPositiveSum, line) = at(kPositiveSum, line) * std::exp(most - now) + std::exp(s - now);
    at(kPositiveLinear, line) += s;
    most = now;
  }
};

double softplus_of(double z) {
  return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
}

double sigmoid_of(double z) {
  return z < 0 ? std::exp(z) / (1 + std::exp(z)) : 1 / (1 + std::exp(-z));
}

PassOptions pass_options(const PairTile& tile) {
  return {tile.bias, tile.sigmoid, tile.linear, tile.beta, tile.weight_gradient};
}

// `line_of` says whether a positive counts for its row or its column.
template <class T, class LineOf>
void add_lines(const MaskedTile<T>& masked_tile, const LineSums<T>& sums, const PairTile& tile,
               const at::Tensor& statistics_7n, LineOf line_of) {
  // A narrowed tensor of all lines has rows that are not next to each other: add through a copy.
  at::Tensor together = statistics_7n.contiguous();
  const RunningStatistics running{together.data_ptr<double>(), together.size(1)};
  for (std::int64_t i = 0; i < running.lines; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (!tile.sigmoid)
      running.add_negatives(i, static_cast<double>(sums.maximum[at]), static_cast<double>(sums.hard[at]),
                            static_cast<double>(sums.base[at]), tile.beta);
    running.at(kNegativeLinear, i) += static_cast<double>(sums.linear[at]);
  }
  for (const auto& positive : masked_tile.positives) {
    const double s = static_cast<double>(positive.s);
    if (tile.sigmoid)
      running.at(kPositiveLinear, line_of(positive)) += softplus_of(-s - tile.bias);
    else
      running.add_positive(line_of(positive), s);
  }
  if (!together.is_same(statistics_7n)) statistics_7n.copy_(together);
}

template <class T>
void add(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
         const at::Tensor& columns_7C) {
  const auto masked_tile = masked<T>(logits_RC, tile);
  const auto options = pass_options(tile);
  if (rows_7R.defined()) {
    LineSums<T> sums(masked_tile.by_rows.rows);
    sum_rows(masked_tile.by_rows, options, sums);
    add_lines(masked_tile, sums, tile, rows_7R, [](const auto& positive) { return positive.row; });
  }
  if (columns_7C.defined()) {
    LineSums<T> sums(masked_tile.by_columns.padded());
    sum_columns(masked_tile.by_columns, options, sums);
    add_lines(masked_tile, sums, tile, columns_7C, [](const auto& positive) { return positive.column; });
  }
}

// [kCoefficients][padded lines], zero-filled padding.
template <class T>
std::vector<T> coefficients_of(const at::Tensor& values_5n, std::int64_t padded) {
  std::vector<T> result(static_cast<std::size_t>(kCoefficients * padded), 0);
  const at::Tensor together = values_5n.contiguous();
  for (std::int64_t which = 0; which < kCoefficients; ++which)
    std::copy_n(together.data_ptr<T>() + which * together.size(1), together.size(1),
                result.data() + which * padded);
  return result;
}

template <class T>
double positive_gradient(const LineCoefficients<T>& lines, std::int64_t line, double s,
                         const PairTile& tile) {
  const auto at = [&](Coefficient which) { return static_cast<double>(lines.of(which)[line]); };
  if (tile.sigmoid) return -at(kHard) * sigmoid_of(-s - tile.bias);
  return std::exp(s + at(kPositive)) - at(kTarget);
}

template <class T>
void differentiate(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                   const at::Tensor& columns_5C, const at::Tensor& sums_2) {
  const auto masked_tile = masked<T>(logits_RC, tile);
  const auto& panel = masked_tile.by_rows;
  const auto of_rows = coefficients_of<T>(rows_5R, panel.rows);
  const auto of_columns = coefficients_of<T>(columns_5C, panel.padded());
  const LineCoefficients<T> rows{of_rows.data(), panel.rows}, columns{of_columns.data(), panel.padded()};
  double sums[2] = {0, 0};
  gradient_rows(panel, masked_tile.by_columns, pass_options(tile), rows, columns, sums);
  for (const auto& positive : masked_tile.positives) {
    const double s = static_cast<double>(positive.s);
    const double gradient =
        positive_gradient(rows, positive.row, s, tile) + positive_gradient(columns, positive.column, s, tile);
    panel.row(positive.row)[positive.column] = static_cast<T>(gradient);
    sums[0] += gradient * s;
    sums[1] += gradient;
  }
  sums_2.data_ptr<double>()[0] += sums[0];
  sums_2.data_ptr<double>()[1] += sums[1];
}

}  // namespace

void cpu_add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                        const at::Tensor& columns_7C) {
  const auto run = logits_RC.scalar_type() == at::kDouble ? &add<double> : &add<float>;
  run(logits_RC, tile, rows_7R, columns_7C);
}

void cpu_tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                       const at::Tensor& columns_5C, const at::Tensor& sums_2) {
  const auto run = logits_RC.scalar_type() == at::kDouble ? &differentiate<double> : &differentiate<float>;
  run(logits_RC, tile, rows_5R, columns_5C, sums_2);
}

}  // namespace trireme::worker::kernels
