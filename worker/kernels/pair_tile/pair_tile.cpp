#include "worker/kernels/pair_tile/pair_tile.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstdlib>
#include <limits>
#include <string_view>

#include "worker/kernels/pair_tile/composed_pair_tile.h"
#include "worker/kernels/pair_tile/cpu_pair_tile.h"

namespace trireme::worker::kernels {
namespace {

constexpr std::int64_t kCpuTile = 256, kLargestTile = 8192;
constexpr std::int64_t kComposedMatrices =
    12;  // of the tile's size that composed_tile_gradient() holds at once

bool composed_everywhere() {
  static const bool chosen = [] {
    const char* path = std::getenv("TRIREME_PAIR_TILE");
    return path != nullptr && std::string_view(path) == "composed";
  }();
  return chosen;
}

PairTileTable functions_for(const at::Tensor& logits_RC) {
  switch (pair_tile_path(logits_RC.device())) {
    case PairTilePath::kCpu:
      return {&cpu_add_statistics, &cpu_tile_gradient};
    case PairTilePath::kCuda:
      if (logits_RC.scalar_type() == at::kFloat) return *device_table<PairTileTable>(logits_RC.device());
      [[fallthrough]];  // its kernels are for float32
    default:
      return {&composed_add_statistics, &composed_tile_gradient};
  }
}

}  // namespace

PairTilePath pair_tile_path(const at::Device& device) {
  if (composed_everywhere()) return PairTilePath::kComposed;
  if (device.is_cpu()) return PairTilePath::kCpu;
  return device_table<PairTileTable>(device) != nullptr ? PairTilePath::kCuda : PairTilePath::kComposed;
}

std::int64_t largest_tile(const at::Device& device) {
  if (device.is_cpu()) return kCpuTile;
  const auto matrices = pair_tile_path(device) == PairTilePath::kCuda ? 1 : kComposedMatrices;
  const auto memory = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second;
  std::int64_t tile = kLargestTile;
  while (tile > kCpuTile && static_cast<std::size_t>(tile * tile * 4 * matrices) > memory / 16) tile /= 2;
  return tile;
}

at::Tensor start_statistics(std::int64_t lines, const at::TensorOptions& device) {
  at::Tensor statistics = at::zeros({kStatistics, lines}, device.dtype(at::kDouble));
  for (const auto maximum : {kNegativeMax, kPositiveMax})
    statistics[maximum].fill_(-std::numeric_limits<double>::infinity());
  return statistics;
}

at::Tensor tile_buffer(std::int64_t rows, std::int64_t columns, const at::TensorOptions& options) {
  const auto stride = (columns + kTilePadding - 1) / kTilePadding * kTilePadding;
  return at::empty({rows, stride}, options).narrow(1, 0, columns);
}

void add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                    const at::Tensor& columns_7C) {
  functions_for(logits_RC).statistics(logits_RC, tile, rows_7R, columns_7C);
}

void tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                   const at::Tensor& columns_5C, const at::Tensor& sums_2) {
  functions_for(logits_RC).gradient(logits_RC, tile, rows_5R, columns_5C, sums_2);
}

}  // namespace trireme::worker::kernels
