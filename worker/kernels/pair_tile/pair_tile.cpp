#include "worker/kernels/pair_tile/pair_tile.h"

#include <ATen/ATen.h>

#include <limits>

#include "common/base/error.h"
#include "worker/kernels/pair_tile/cpu_pair_tile.h"

namespace trireme::worker::kernels {
namespace {

PairTileCuda cuda_functions;  // set once, before the first tensor is on a GPU

const PairTileCuda& cuda() {
  if (cuda_functions.statistics == nullptr)
    throw Error(ErrorKind::kUnavailable,
                "the contrastive loss on a GPU needs the CUDA plug-in, which is not loaded",
                "build with -DTRIREME_CUDA_TORCH_ROOT, or train on the CPU");
  return cuda_functions;
}

}  // namespace

void set_pair_tile_cuda(const PairTileCuda& functions) {
  cuda_functions = functions;
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
  const auto run = logits_RC.is_cuda() ? cuda().statistics : &cpu_add_statistics;
  run(logits_RC, tile, rows_7R, columns_7C);
}

void tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                   const at::Tensor& columns_5C, const at::Tensor& sums_2) {
  const auto run = logits_RC.is_cuda() ? cuda().gradient : &cpu_tile_gradient;
  run(logits_RC, tile, rows_5R, columns_5C, sums_2);
}

}  // namespace trireme::worker::kernels
