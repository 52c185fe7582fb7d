// InfoNCE over the global batch, exact and with closed-form gradients (METHODS 3.3, 8 scheme B, 10.1). With
// unit rows x_i, t_j, s = exp(logit_scale), S_ij = s x_i.t_j, the set of live rows of size n:
//
//   row_i = ln sum_j exp S_ij        column_j = ln sum_i exp S_ij         (over live j, i)
//   L     = 1/(2n) sum_i [(row_i - S_ii) + (column_i - S_ii)]
//   G_ij  = exp(S_ij - row_i) + exp(S_ij - column_j) - 2 delta_ij
//   dL/dx_i = s/(2n) sum_j G_ij t_j,   dL/dt_j = s/(2n) sum_i G_ij x_i,   dL/dlogit_scale = 1/(2n) sum_ij
//   G_ij S_ij
//
// A rank gathers all embeddings and the live mask, computes own rows (own images x all texts) and own columns
// (own texts x all images) slot by slot, gathers row and column, and has the exact gradients of its own
// embeddings without reducing any. Every matrix is one slot's share [b, N], so bits do not depend on the
// number of ranks and memory is linear in the batch. Rows that are not live leave rows and negatives and get
// zero gradient. Fewer than two live rows: skipped, everything is zero. float32 or float64; sums over rows in
// float64.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/collective/group.h"

namespace trireme::worker::losses {

// One logical slot: unit rows [b, D] without a graph, live uint8 [b] on the CPU.
struct SlotEmbeddings {
  at::Tensor image_bD, text_bD, live_b;
};

struct SlotGradient {
  at::Tensor image_bD, text_bD;
  double logit_scale = 0;  // this slot's rows' share; the shares of all slots add up to the gradient
};

struct InfoNce {
  double loss = 0;  // the same bits on every rank
  std::int64_t live = 0;
  bool skipped = false;
  std::vector<SlotGradient> gradients;  // of own slots
};

// Runs body(i) for i in [0, n), maybe at the same time; returns when all are done.
using ForEach = std::function<void(std::int64_t n, const std::function<void(std::int64_t)>& body)>;

// `own`: own slots of `slots`, in slot order. Collective: every rank of the group calls it. Two all-gathers.
InfoNce info_nce(const std::vector<SlotEmbeddings>& own, std::int64_t slots, double logit_scale,
                 collective::Group& group, const ForEach& for_each);

}  // namespace trireme::worker::losses
