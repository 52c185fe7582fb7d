// From the statistics of rows or columns (worker/kernels/pair_tile) to their losses and to the coefficients
// of their gradient. README.md derives both.
#pragma once

#include "worker/kernels/pair_tile/pair_tile.h"
#include "worker/losses/contrastive.h"

namespace trireme::worker::losses {

struct Lines {
  at::Tensor statistics_7n;             // float64; all on one device
  at::Tensor live_n;                    // uint8
  at::Tensor weight_n;                  // u, float64
  at::Tensor positives_n, negatives_n;  // |P(i)|, |K(i)|, int64
};

struct LineLosses {
  at::Tensor loss_n;           // float64, u included; 0 for dead lines
  at::Tensor coefficients_5n;  // float64
};

// `share`: c of contrastive.h.
LineLosses line_losses(const Lines& lines, const ContrastiveOptions& options, double share);

// [slots, pairs] on the host: sums of the losses [pair and direction, n] of as many lines per slot, there
// too.
at::Tensor losses_of_slots(const at::Tensor& losses, std::int64_t slots, std::int64_t pairs);

}  // namespace trireme::worker::losses
