// What the contrastive family does to one tile of logits s_ij = scale x_i.t_j between its matrix products:
// statistics of rows and columns, and the tile of dL/ds from final statistics (worker/losses/README.md
// derives both). The CPU code is the reference; the CUDA code, in the plug-in, and the composed one, of
// ATen's operations for a GPU without the plug-in's kernels, are judged by it. An entry of the tile is dead
// (its row or column is), positive (same place of the global batch, or same label), a kept negative or
// dropped (by the row's or the column's choice, each for itself).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "worker/kernels/device_table.h"

namespace trireme::worker::kernels {

// Rows or columns of a tile, n of them.
struct TileLines {
  std::int64_t first = 0;  // place of the first in the global batch
  at::Tensor live_n;       // uint8; undefined: all live
  at::Tensor label_n;      // int64; undefined: positive is the same place
  at::Tensor choice_n3;    // int64 key, rank and place of the last negative kept (negative_choice.h);
                           // undefined: all are kept
};

struct PairTile {
  TileLines rows, columns;
  double bias = 0;  // sigmoid
  bool sigmoid = false;
  bool linear = false;          // the sum of s over negatives is needed (label smoothing)
  double beta = 0;              // HN-NCE
  bool weight_gradient = true;  // the gradient passes through HN-NCE's weights
};

// Running statistics per line, float64 [kStatistics, n], start_statistics() at first:
//   M = max s, sum e^{(1+beta)(s-M)}, sum e^{beta(s-M)} (beta > 0), sum s (linear) over kept negatives; max,
//   sum e^{s-max} and sum s over positives. Sigmoid: sum softplus(s+bias) over negatives in kNegativeLinear
//   and softplus(-s-bias) over positives in kPositiveLinear.
enum Statistic : std::int64_t {
  kNegativeMax,
  kNegativeHard,
  kNegativeBase,
  kNegativeLinear,
  kPositiveMax,
  kPositiveSum,
  kPositiveLinear,
  kStatistics
};
at::Tensor start_statistics(std::int64_t lines, const at::TensorOptions& device);

// Per line, of the tile's dtype [kCoefficients, n]; the line's part of dL/ds_ij is
//   e^{(1+beta)s + hard} - e^{beta s + base} - uniform   on kept negatives,
//   e^{s + positive} - target                            on positives;
// sigmoid: hard * sigmoid(s+bias) and -hard * sigmoid(-s-bias).
enum Coefficient : std::int64_t { kHard, kBase, kPositive, kUniform, kTarget, kCoefficients };

// A matrix [rows, columns] for logits whose rows are padded as the CPU code needs them.
at::Tensor tile_buffer(std::int64_t rows, std::int64_t columns, const at::TensorOptions& options);

// `logits_RC` (float32 or float64, of tile_buffer()) is overwritten. Adds the tile to the statistics of its
// rows and of its columns; either may be undefined. NaN stays NaN.
void add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                    const at::Tensor& columns_7C);

// logits_RC becomes dL/ds; sums_2 (float64) += sum of dL/ds * s and of dL/ds.
void tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                   const at::Tensor& columns_5C, const at::Tensor& sums_2);

// Which code logits of this device meet. TRIREME_PAIR_TILE=composed in the environment chooses that
// everywhere.
enum class PairTilePath { kCpu, kCuda, kComposed };
PairTilePath pair_tile_path(const at::Device& device);

// Rows of the largest tile to work with on this device: 256 on a CPU; on a GPU 8192, or fewer where the tile
// and what its path needs beside it would take more than a sixteenth of its memory.
std::int64_t largest_tile(const at::Device& device);

// A device's own code (device_table.h), for float32; float64 logits and a GPU without it are composed.
struct PairTileTable {
  static constexpr const char* kOperator = TRIREME_TABLE("pair_tile");
  decltype(&add_statistics) statistics = nullptr;
  decltype(&tile_gradient) gradient = nullptr;
};

// Width of the padding of a row, in elements: one vector register of 64 bytes of float32.
constexpr std::int64_t kTilePadding = 16;

}  // namespace trireme::worker::kernels
