// pair_tile.h out of ATen's own operations: same contract, tensors on any device. The path of a GPU without
// our CUDA kernels; memory is a few matrices of the tile's size.
#pragma once

#include "worker/kernels/pair_tile/pair_tile.h"

namespace trireme::worker::kernels {

void composed_add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                             const at::Tensor& columns_7C);
void composed_tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                            const at::Tensor& columns_5C, const at::Tensor& sums_2);

}  // namespace trireme::worker::kernels
