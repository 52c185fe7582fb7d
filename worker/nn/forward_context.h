// What a forward pass is for, beside its input: evaluation (the default), or one slot of one training step.
// Layers stay const and thread-safe: what they draw is a function of (seed, step, slot, row, layer), and what
// their batch norms see goes to a collector that belongs to the caller.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "common/base/random.h"

namespace trireme::worker::nn {

class BatchStatistics;

struct ForwardContext {
  bool training = false;
  std::uint64_t seed = 0;
  std::int64_t step = 0, slot = 0, first_row = 0;  // rows of a slot may come in several calls
  BatchStatistics* statistics = nullptr;           // may stay null: nothing is collected

  // For one row of the input, so that a draw does not depend on the rows beside it. Its purpose is kDropout.
  RandomStream stream(const std::string& layer, std::int64_t row) const;
};

// Sums of what the batch norms of one forward pass saw, in one float32 vector [numbers] = per norm its
// channels' means and unbiased variances, summed over groups, and last the number of groups.
class BatchStatistics {
 public:
  explicit BatchStatistics(std::int64_t channels);  // of all norms together
  // Norms are called in any order; `first`: channels of the norms before this one.
  void add(std::int64_t first, const at::Tensor& mean_C, const at::Tensor& variance_C);
  void count_groups(std::int64_t groups);
  const at::Tensor& numbers() const { return numbers_; }  // [2 channels + 1]

 private:
  std::int64_t channels_;
  at::Tensor numbers_;
};

// Residual branches that are skipped by some samples of a training batch: branch * keep / (1 - rate), keep
// drawn per sample (timm's drop_path). Returns `branch_B…` unchanged in evaluation and with rate 0.
at::Tensor stochastic_depth(const at::Tensor& branch_B, double rate, const ForwardContext& context,
                            const std::string& layer);

// FLIP: places of the patches that each image keeps, max(1, floor(patches (1 - rate))) per image, ascending;
// int64 [B, K] on the CPU.
at::Tensor kept_patches(std::int64_t batch, std::int64_t patches, double rate, const ForwardContext& context);

}  // namespace trireme::worker::nn
