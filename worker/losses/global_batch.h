// What every rank knows of the whole batch before any logit is computed: that all ranks mean the same thing,
// and which rows live, with which labels.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/losses/contrastive.h"

namespace trireme::worker::losses {

struct GlobalBatch {
  std::int64_t slots = 0, rows = 0, width = 0, pairs = 0;  // rows: of a slot
  std::int64_t first_slot = 0, own_slots = 0;
  std::int64_t live = 0;
  std::int64_t tile = 0;                // rows of the largest tile that suits every rank's device
  at::Tensor live_N;                    // uint8
  at::Tensor label_N;                   // int64, or undefined
  at::Tensor positives_N;               // int64, |P(i)|; 1 where a row is dead
  at::ScalarType compute = at::kFloat;  // of logits and gradients

  std::int64_t all_rows() const { return slots * rows; }
  std::int64_t first_row() const { return first_slot * rows; }
  std::int64_t own_rows() const { return own_slots * rows; }
};

// Collective, two or three all-gathers of small tensors. Throws kInvalid on every rank: what a rank cannot
// take (the others learn which rank), or values that differ, naming the ranks and both values.
GlobalBatch agree(const std::vector<SlotEmbeddings>& own, std::int64_t slots, const ContrastivePoint& point,
                  const ContrastiveOptions& options, collective::Group& group);

}  // namespace trireme::worker::losses
