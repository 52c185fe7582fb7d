// Losses that are means over the global batch: sum_h weight_h / n_h * (sum over rows), n_h being what each
// sums over on all ranks: rows with targets, tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

struct MeanLosses {
  std::vector<double> mean;    // per head; 0 over nothing
  std::vector<double> factor;  // weight_h / n_h: the slope of the whole at a sum; 0 over nothing
  double weighted = 0;         // the whole
  std::int64_t live = 0;       // live rows on all ranks
};

// `own` and `outputs`: of this rank's slots, in slot order; `weights`: one per head of SlotOutput::sum_H.
// Where count_H is undefined, rows with targets are counted. Collective, one all-gather; the same bits on
// every rank and for any number of them. Nothing to do without heads.
MeanLosses mean_losses(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                       std::int64_t slots, const std::vector<double>& weights, collective::Group& group);

// The same where the sums are, and no number of it is read on the host; targets count where count_H is
// undefined. float64 [heads], and [] for `weighted`.
struct MeansThere {
  at::Tensor mean_H, factor_H, weighted;
};
MeansThere mean_losses_there(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                             const std::vector<double>& weights, collective::Group& group);

// The loss of an objective that has that mean alone, of one head, each slot's sum being its only output, with
// its count.
StepLoss one_mean_loss(const std::vector<SlotInput>& own, const std::vector<SlotOutput>& outputs,
                       const LossContext& context);

}  // namespace trireme::worker::stages::train
