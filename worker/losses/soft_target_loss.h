// Classification against sparse soft targets, as DiHT's concept heads need (METHODS 2.3, 10.6), and where the
// targets come from: top-k of a teacher, renormalised, and square-root sampling of concepts.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::losses {

// -sum_k p_bk ln softmax(logits_b)[index_bk] per row, [B], differentiable in the logits (computed in float32
// or wider). indices int64 [B, k], weights floating [B, k], >= 0; a weight of 0 turns an entry off, a row of
// zeros has no target and loss 0. Throws kInvalid: an index outside the vocabulary, naming row and index,
// where the targets are on the host (on a GPU that would be a wait in every step, and it notices by itself).
at::Tensor soft_target_loss(const at::Tensor& logits_BV, const at::Tensor& indices_Bk,
                            const at::Tensor& weights_Bk);

// The k largest probabilities of each row, renormalised to sum 1 (k at most V: all of them): indices
// ascending within the order of probability, ties to the lower index.
std::pair<at::Tensor, at::Tensor> top_k_targets(const at::Tensor& probabilities_BV, std::int64_t k);

}  // namespace trireme::worker::losses
