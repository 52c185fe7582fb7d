// The oracle of the contrastive family: the definition of worker/losses/contrastive.h on the full matrix of
// live rows in float64, differentiated by autograd. Shares with the code under test only which negatives a
// row keeps.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/losses/contrastive.h"

namespace trireme::worker::losses {

// A whole batch; `slots` equal parts of it are the logical slots.
struct WholeBatch {
  at::Tensor image;
  std::vector<at::Tensor> texts;
  at::Tensor live;                  // uint8
  std::vector<at::Tensor> weights;  // float64, one per text, or none
  at::Tensor labels;                // int64, or undefined
  std::int64_t slots = 1;
  ContrastivePoint point;
  ContrastiveOptions options;
};

struct WholeResult {
  double loss = 0, log_scale = 0, bias = 0;
  std::vector<double> pair_loss;
  at::Tensor image;
  std::vector<at::Tensor> texts;
  std::int64_t live = 0;
  bool skipped = false;
};

WholeResult full_matrix(const WholeBatch& batch);

// contrastive() over a local gang of `ranks`, gathered.
WholeResult streamed(const WholeBatch& batch, int ranks);

// The part of `batch` that rank `rank` of `ranks` owns.
std::vector<SlotEmbeddings> slots_of(const WholeBatch& batch, int ranks, int rank);

// METHODS 10: x, t and c of four rows, float64 unit rows.
struct StandardInput {
  at::Tensor x, t, c;
};
StandardInput standard_input();

// "" when equal: bits, or within `tolerance` of the largest value.
std::string difference(const WholeResult& got, const WholeResult& want, double tolerance);

void one_after_the_other(std::int64_t n, const std::function<void(std::int64_t)>& body);

}  // namespace trireme::worker::losses
