// Losses of the concept heads over the global batch: sum_h weight_h / n_h * (sum over rows), n_h being the
// rows that have targets, on all ranks, or what the model counts (a captioner's one head: tokens).
#pragma once

#include <cstdint>
#include <vector>

#include "worker/collective/group.h"
#include "worker/stages/train/trainable_model.h"

namespace trireme::worker::stages::train {

struct HeadLosses {
  std::vector<double> mean;    // per head, over rows with targets; 0 without any
  std::vector<double> factor;  // weight_h / n_h: what a row's loss counts in the sum; 0 without rows
  double weighted = 0;         // the sum
  std::int64_t live = 0;       // live rows on all ranks
};

// `own`: inputs and outputs of this rank's slots, in slot order; `weights`: one per head. Collective, one
// all-gather; the same bits on every rank and for any number of them. Nothing to do without heads.
HeadLosses head_losses(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                       std::int64_t slots, const std::vector<double>& weights, collective::Group& group);

}  // namespace trireme::worker::stages::train
