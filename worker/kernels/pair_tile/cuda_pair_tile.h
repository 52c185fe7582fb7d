// The CUDA side of pair_tile.h, in the CUDA plug-in: same contract, float32 logits on one GPU, asynchronous
// on the current stream. Registered as CUDA's PairTileTable.
#pragma once

#include "worker/kernels/pair_tile/pair_tile.h"

namespace trireme::worker::kernels {

void cuda_add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                         const at::Tensor& columns_7C);
void cuda_tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                        const at::Tensor& columns_5C, const at::Tensor& sums_2);

}  // namespace trireme::worker::kernels
