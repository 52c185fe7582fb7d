// The CUDA side of pair_tile.h. One block per line of a tile: a pass for the maximum and a pass for the sums
// of rows, the same for columns over strips of 32 neighbours, so that loads are coalesced; the gradient is
// one pass. Sums in float32 within a line, merged into the running float64 statistics.
#include "worker/kernels/pair_tile/cuda_pair_tile.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "worker/kernels/negative_choice.h"

namespace trireme::worker::kernels {
namespace {

constexpr int kThreads = 256, kStrip = 32, kWarps = kThreads / kStrip;

// What a kernel needs of TileLines; pointers may be null.
struct DeviceLines {
  long first;
  const unsigned char* live;
  const long* label;
  const long* choice;  // [n][3]
};

struct Shape {
  long rows, columns, stride;
  float bias, beta;
  bool sigmoid, linear, weight_gradient;
};

DeviceLines on_device(const TileLines& lines) {
  const auto longs = [](const at::Tensor& tensor) {
    return tensor.defined() ? reinterpret_cast<const long*>(tensor.data_ptr<std::int64_t>()) : nullptr;
  };
  return {lines.first, lines.live_n.defined() ? lines.live_n.data_ptr<std::uint8_t>() : nullptr,
          longs(lines.label_n), longs(lines.choice_n3)};
}

Shape shape_of(const at::Tensor& logits_RC, const PairTile& tile) {
  return {logits_RC.size(0),
          logits_RC.size(1),
          logits_RC.stride(0),
          static_cast<float>(tile.bias),
          static_cast<float>(tile.beta),
          tile.sigmoid,
          tile.linear,
          tile.weight_gradient};
}

enum class Role { kDead, kPositive, kKept, kDropped };

__device__ unsigned rank_of(long key, long place) {
  return negative_mix<unsigned>(static_cast<unsigned>(place), static_cast<unsigned>(key),
                                static_cast<unsigned>(static_cast<unsigned long>(key) >> 32));
}

// Of entry (i, j) as line i of `lines` sees it; `others` are the lines across.
__device__ Role role(const DeviceLines& lines, const DeviceLines& others, long i, long j) {
  if ((lines.live != nullptr && lines.live[i] == 0) || (others.live != nullptr && others.live[j] == 0))
    return Role::kDead;
  const long place = others.first + j;
  if (lines.label != nullptr ? lines.label[i] == others.label[j] : lines.first + i == place)
    return Role::kPositive;
  if (lines.choice == nullptr) return Role::kKept;
  const long* choice = lines.choice + 3 * i;
  const unsigned rank = rank_of(choice[0], place), limit = static_cast<unsigned>(choice[1]);
  const bool kept = choice[2] >= 0 && (rank < limit || (rank == limit && place <= choice[2]));
  return kept ? Role::kKept : Role::kDropped;
}

__device__ float softplus(float x) {
  return fmaxf(x, 0.0F) + log1pf(expf(-fabsf(x)));
}
__device__ float sigmoid(float x) {
  return 1.0F / (1.0F + expf(-x));
}

// One line's statistics of this tile.
struct Sums {
  float negative_max, hard, base, linear, positive_max, positive, positive_linear;
};

__device__ Sums nothing() {
  return {-INFINITY, 0, 0, 0, -INFINITY, 0, 0};
}

// Two partial results about different maxima into one. NaN in a sum stays.
__device__ Sums merged(const Sums& a, const Sums& b, float beta) {
  const auto scaled = [](float sum, float maximum, float most, float power) {
    return maximum == -INFINITY ? sum : sum * expf(power * (maximum - most));
  };
  Sums r;
  r.negative_max = fmaxf(a.negative_max, b.negative_max);
  r.hard = scaled(a.hard, a.negative_max, r.negative_max, 1 + beta) +
           scaled(b.hard, b.negative_max, r.negative_max, 1 + beta);
  r.base = scaled(a.base, a.negative_max, r.negative_max, beta) +
           scaled(b.base, b.negative_max, r.negative_max, beta);
  r.linear = a.linear + b.linear;
  r.positive_max = fmaxf(a.positive_max, b.positive_max);
  r.positive = scaled(a.positive, a.positive_max, r.positive_max, 1) +
               scaled(b.positive, b.positive_max, r.positive_max, 1);
  r.positive_linear = a.positive_linear + b.positive_linear;
  return r;
}

// Adds one entry, rescaling only when it is a new maximum.
__device__ void add(Sums& sums, float s, Role its_role, const Shape& shape) {
  if (its_role == Role::kDead || its_role == Role::kDropped) return;
  const bool negative = its_role == Role::kKept;
  if (shape.sigmoid) {
    if (negative)
      sums.linear += softplus(s + shape.bias);
    else
      sums.positive_linear += softplus(-s - shape.bias);
    return;
  }
  Sums one = nothing();
  if (negative) {
    one.negative_max = s;
    one.hard = one.base = isnan(s) ? s : 1.0F;
    one.linear = shape.linear ? s : 0;
  } else {
    one.positive_max = s;
    one.positive = isnan(s) ? s : 1.0F;
    one.positive_linear = s;
  }
  if (negative && s <= sums.negative_max) {
    sums.hard += expf((1 + shape.beta) * (s - sums.negative_max));
    if (shape.beta > 0) sums.base += expf(shape.beta * (s - sums.negative_max));
    sums.linear += one.linear;
  } else {
    sums = merged(sums, one, shape.beta);
  }
}

// The running statistics of line i, float64 [kStatistics, lines] with rows `stride` apart.
__device__ void store(double* running, long stride, long i, const Sums& sums, const Shape& shape) {
  const auto at = [&](Statistic which) -> double& { return running[which * stride + i]; };
  at(kNegativeLinear) += sums.linear;
  at(kPositiveLinear) += sums.positive_linear;
  if (shape.sigmoid) return;
  const auto grow = [&](Statistic max_of, double tile_max, Statistic sum_of, double tile_sum, double power,
                        double most) {
    const double old_part = at(max_of) == -INFINITY ? 0 : at(sum_of) * exp(power * (at(max_of) - most));
    const double new_part = tile_max == -INFINITY ? tile_sum : tile_sum * exp(power * (tile_max - most));
    at(sum_of) = (isnan(at(sum_of)) ? at(sum_of) : old_part) + new_part;
  };
  const double negative = fmax(at(kNegativeMax), static_cast<double>(sums.negative_max));
  grow(kNegativeMax, sums.negative_max, kNegativeHard, sums.hard, 1.0 + shape.beta, negative);
  grow(kNegativeMax, sums.negative_max, kNegativeBase, sums.base, shape.beta, negative);
  at(kNegativeMax) = negative;
  const double positive = fmax(at(kPositiveMax), static_cast<double>(sums.positive_max));
  grow(kPositiveMax, sums.positive_max, kPositiveSum, sums.positive, 1, positive);
  at(kPositiveMax) = positive;
}

__device__ Sums from_lane(const Sums& sums, int offset) {
  const auto moved = [&](float value) { return __shfl_down_sync(0xFFFFFFFFU, value, offset); };
  return {moved(sums.negative_max), moved(sums.hard),     moved(sums.base),           moved(sums.linear),
          moved(sums.positive_max), moved(sums.positive), moved(sums.positive_linear)};
}

// grid: one block per row.
__global__ void row_statistics(const float* s, Shape shape, DeviceLines rows, DeviceLines columns,
                               double* running, long running_stride) {
  const long i = blockIdx.x;
  Sums sums = nothing();
  for (long j = threadIdx.x; j < shape.columns; j += kThreads)
    add(sums, s[i * shape.stride + j], role(rows, columns, i, j), shape);
  for (int offset = kStrip / 2; offset > 0; offset /= 2)
    sums = merged(sums, from_lane(sums, offset), shape.beta);
  __shared__ Sums of_warp[kWarps];
  if (threadIdx.x % kStrip == 0) of_warp[threadIdx.x / kStrip] = sums;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kWarps; ++w) sums = merged(sums, of_warp[w], shape.beta);
  store(running, running_stride, i, sums, shape);
}

// grid: one block per strip of 32 columns; a warp reads 32 neighbours of a row at once.
__global__ void column_statistics(const float* s, Shape shape, DeviceLines rows, DeviceLines columns,
                                  double* running, long running_stride) {
  const long j = static_cast<long>(blockIdx.x) * kStrip + threadIdx.x % kStrip;
  const int warp = threadIdx.x / kStrip;
  Sums sums = nothing();
  if (j < shape.columns)
    for (long i = warp; i < shape.rows; i += kWarps)
      add(sums, s[i * shape.stride + j], role(columns, rows, j, i), shape);
  __shared__ Sums of_warp[kWarps][kStrip];
  of_warp[warp][threadIdx.x % kStrip] = sums;
  __syncthreads();
  if (warp != 0 || j >= shape.columns) return;
  for (int w = 1; w < kWarps; ++w) sums = merged(sums, of_warp[w][threadIdx.x], shape.beta);
  store(running, running_stride, j, sums, shape);
}

struct DeviceCoefficients {
  const float* values;
  long stride;
  __device__ float of(Coefficient which, long i) const { return values[which * stride + i]; }
};

__device__ float part(const DeviceCoefficients& line, long i, float s, Role its_role, const Shape& shape) {
  if (its_role == Role::kDead || its_role == Role::kDropped) return 0;
  if (shape.sigmoid)
    return its_role == Role::kKept ? line.of(kHard, i) * sigmoid(s + shape.bias)
                                   : -line.of(kHard, i) * sigmoid(-s - shape.bias);
  if (its_role == Role::kPositive) return expf(s + line.of(kPositive, i)) - line.of(kTarget, i);
  float slope = expf((1 + shape.beta) * s + line.of(kHard, i)) - line.of(kUniform, i);
  if (shape.beta > 0 && shape.weight_gradient) slope -= expf(shape.beta * s + line.of(kBase, i));
  return slope;
}

// grid: one block per row. of_row: [rows][2], summed by the caller in one order.
__global__ void gradient(float* s, Shape shape, DeviceLines rows, DeviceLines columns,
                         DeviceCoefficients of_rows, DeviceCoefficients of_columns, double* of_row) {
  const long i = blockIdx.x;
  float with_s = 0, plain = 0;
  for (long j = threadIdx.x; j < shape.columns; j += kThreads) {
    const float value = s[i * shape.stride + j];
    const float g = part(of_rows, i, value, role(rows, columns, i, j), shape) +
                    part(of_columns, j, value, role(columns, rows, j, i), shape);
    with_s += g == 0 ? 0 : g * value;
    plain += g;
    s[i * shape.stride + j] = g;
  }
  __shared__ float sums[kThreads][2];
  sums[threadIdx.x][0] = with_s;
  sums[threadIdx.x][1] = plain;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half)
      for (int k = 0; k < 2; ++k) sums[threadIdx.x][k] += sums[threadIdx.x + half][k];
  }
  __syncthreads();
  if (threadIdx.x < 2) of_row[2 * i + threadIdx.x] = sums[0][threadIdx.x];
}

}  // namespace

void cuda_add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                         const at::Tensor& columns_7C) {
  const c10::cuda::CUDAGuard guard(logits_RC.device());
  const auto stream = c10::cuda::getCurrentCUDAStream().stream();
  const auto shape = shape_of(logits_RC, tile);
  const auto rows = on_device(tile.rows), columns = on_device(tile.columns);
  const float* s = logits_RC.data_ptr<float>();
  if (rows_7R.defined())
    row_statistics<<<static_cast<unsigned>(shape.rows), kThreads, 0, stream>>>(
        s, shape, rows, columns, rows_7R.data_ptr<double>(), rows_7R.stride(0));
  if (columns_7C.defined())
    column_statistics<<<static_cast<unsigned>((shape.columns + kStrip - 1) / kStrip), kThreads, 0, stream>>>(
        s, shape, rows, columns, columns_7C.data_ptr<double>(), columns_7C.stride(0));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void cuda_tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                        const at::Tensor& columns_5C, const at::Tensor& sums_2) {
  const c10::cuda::CUDAGuard guard(logits_RC.device());
  const auto stream = c10::cuda::getCurrentCUDAStream().stream();
  const auto shape = shape_of(logits_RC, tile);
  const at::Tensor of_row = at::empty({shape.rows, 2}, sums_2.options());
  gradient<<<static_cast<unsigned>(shape.rows), kThreads, 0, stream>>>(
      logits_RC.data_ptr<float>(), shape, on_device(tile.rows), on_device(tile.columns),
      {rows_5R.data_ptr<float>(), rows_5R.stride(0)}, {columns_5C.data_ptr<float>(), columns_5C.stride(0)},
      of_row.data_ptr<double>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  at::Tensor(sums_2).add_(of_row.sum(0));
}

}  // namespace trireme::worker::kernels

TORCH_LIBRARY_IMPL(trireme, CUDA, library) {
  using namespace trireme::worker::kernels;
  static constexpr PairTileTable kTable{&cuda_add_statistics, &cuda_tile_gradient};
  library.impl(PairTileTable::kOperator, [] { return reinterpret_cast<std::int64_t>(&kTable); });
}
