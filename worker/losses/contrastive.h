// The contrastive family: every pair loss of ALIGN, ALIP and DiHT, their combinations, UniCL and SigLIP, over
// the global batch, exact, with closed-form gradients (METHODS 1 to 3, 8; README.md here derives them). Per
// pair (x, t) of modalities, live rows of all ranks 1..n, s_ij = scale x_i.t_j, and per direction (rows here,
// columns alike on the transpose):
//
//   softmax  loss_i = u_i [ln D_i - sum_j q_ij s_ij]
//            D_i    = alpha sum_{P(i)} e^{s_ip} + sum_{K(i)} w_ij e^{s_ij}
//            w_ij   = |K(i)| e^{beta s_ij} / sum_{K(i)} e^{beta s_ik}
//            q_ij   = (1 - smoothing)/|P(i)| on P(i), plus smoothing/(|P(i)| + |K(i)|) on P(i) and K(i)
//   sigmoid  loss_i = u_i [sum_{P(i)} softplus(-s_ij - bias) + sum_{K(i)} softplus(s_ij + bias)]
//   L = c sum_pairs sum_i (row loss_i + column loss_i),  c = 1/(2n), 1/n or 1 (Reduction)
//
// P(i): i itself, or all rows of its label. K(i): the other live rows, or round(negative_fraction * their
// number) of them in a random order keyed by (seed, step, pair's direction, row), the same for any number of
// ranks. Columns of the global batch stream around the ranks in tiles: memory is O(b D + tile) per rank,
// nothing of size N x N or N x D exists, and bits depend on the slots, never on the number of ranks. float32,
// float64, or bfloat16 rows (computed in float32); sums over rows in float64.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/collective/group.h"

namespace trireme::worker::losses {

enum class ContrastiveKind { kSoftmax, kSigmoid };
enum class Reduction { kHalfMean, kSumOfMeans, kSum };

struct ContrastiveOptions {
  ContrastiveKind kind = ContrastiveKind::kSoftmax;
  Reduction reduction = Reduction::kHalfMean;
  double smoothing = 0;          // [0, 1); softmax only
  double alpha = 1, beta = 0;    // HN-NCE: alpha in [0, 1], beta >= 0; softmax only
  bool detach_weights = false;   // w_ij as constants
  double negative_fraction = 1;  // (0, 1]
  std::uint64_t seed = 0;        // of the choice of negatives
};

// Throws kInvalid naming the option that is out of range or contradicts another.
void check(const ContrastiveOptions& options);

// One logical slot, b rows, the same b everywhere. Unit rows without a graph (other lengths are computed as
// they are); rows that are not live leave rows and negatives, get zero gradient and may hold anything.
struct SlotEmbeddings {
  at::Tensor image_bD;
  std::vector<at::Tensor> text_bD;  // one per pair: (image, text_bD[p])
  at::Tensor live_b;                // uint8, on the CPU
  std::vector<at::Tensor>
      weight_b;        // u >= 0, float64, on the CPU or where the rows are, one per pair; empty: 1
  at::Tensor label_b;  // int64, on the CPU; undefined: every row has a label of its own
};

struct SlotGradient {  // float64 for float64 rows, else float32
  at::Tensor image_bD;
  std::vector<at::Tensor> text_bD;
  double log_scale = 0, bias = 0;  // this slot's shares of dL/d ln(scale) and dL/d bias; all slots' add up
  at::Tensor shares_2;  // both, float64 on the rows' device: instead of the numbers, where they stay
};

struct ContrastiveResult {
  double loss = 0;                // the same bits on every rank
  std::vector<double> pair_loss;  // adds up to loss
  at::Tensor pair_loss_p;         // float64 on the rows' device, instead of both, where numbers stay there
  std::int64_t live = 0;
  bool skipped = false;                 // fewer than two live rows: loss and gradients are zero
  std::vector<SlotGradient> gradients;  // of own slots
  double waited_seconds = 0;            // for tiles that had not arrived when they were needed
};

// What changes from step to step.
struct ContrastivePoint {
  double scale = 1;  // exp(logit_scale), or 1/sigma
  double bias = 0;   // sigmoid only
  std::int64_t step = 0;
  // float64 [] on the rows' device: what to compute with, so that nobody has to look at them; scale and bias
  // above are then only compared between ranks. With them nothing of the result is read on the host either.
  at::Tensor scale_there = {}, bias_there = {};
};

// Runs body(i) for i in [0, n), maybe at the same time; returns when all are done.
using ForEach = std::function<void(std::int64_t n, const std::function<void(std::int64_t)>& body)>;

// `own`: this rank's slots of `slots`, in slot order. Collective; the caller's thread drives the group, also
// while it runs bodies. Slots whose shapes, dtypes or options differ throw kInvalid on every rank, naming two
// ranks and their values; NaN and infinity in live rows come out in loss and gradients.
ContrastiveResult contrastive(const std::vector<SlotEmbeddings>& own, std::int64_t slots,
                              const ContrastivePoint& point, const ContrastiveOptions& options,
                              collective::Group& group, const ForEach& for_each);

}  // namespace trireme::worker::losses
