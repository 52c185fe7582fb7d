// The CPU side of pair_tile.h: same contract, tensors on the CPU, any thread.
#pragma once

#include "worker/kernels/pair_tile/pair_tile.h"

namespace trireme::worker::kernels {

void cpu_add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                        const at::Tensor& columns_7C);
void cpu_tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                       const at::Tensor& columns_5C, const at::Tensor& sums_2);

}  // namespace trireme::worker::kernels
