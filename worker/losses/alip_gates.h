// ALIP's gates (METHODS 1.3 to 1.6): weights of samples and of pairs from three similarities of unit rows,
// S_tc = t.c, S_xt = x.t, S_xc = x.c, and their running means H, which are updated first:
//
//   H   <- m H + (1 - m) mean of S over the live rows of all ranks
//   W^s = min(1, exp(gamma_sample (S_tc - H_tc)))
//   W^t = exp(gamma_pair (S_xt - H_xt)) where W^s < 1, else 1;  W^c likewise with S_xc
//   weight of pair (x, t): W^s W^t, of (x, c): W^s W^c
//
// A gate that is off is 1; H_tc is tracked and W^s < 1 stays the condition all the same. No gradient passes.
// Means are added in float64 in slot order: H and weights have the same bits for any number of ranks.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "worker/losses/contrastive.h"

namespace trireme::worker::losses {

struct GateOptions {
  bool sample = true, text = true, caption = true;
  double gamma_sample = 2, gamma_pair = 2;  // [0, 100]
  double momentum = 0.99;                   // m in [0, 1]
};

struct GateState {
  double h_tc = 1, h_xt = 1, h_xc = 1;  // ALIP's code starts at 1
};

struct GateStep {
  GateState state;  // becomes the trainer's state once the step is taken
  double mean_sample = 1, mean_text = 1, mean_caption = 1;  // of W^s, W^t, W^c over live rows, for metrics
  std::vector<std::vector<at::Tensor>> weight_b;  // [own slot][pair] float64, for SlotEmbeddings::weight_b
  std::vector<at::Tensor> gate_3b;                // [own slot] float64 [3, b]: W^s, W^t, W^c
};

// The same where the rows are, and no number of it is read on the host.
struct GatesThere {
  at::Tensor h_3, mean_3;  // float64 there: H_tc, H_xt, H_xc; means of W^s, W^t, W^c
  std::vector<std::vector<at::Tensor>> weight_b;
  std::vector<at::Tensor> gate_3b;
};

void check(const GateOptions& options);  // throws kInvalid

// `own`: text_bD is {raw text, caption}. Changes nothing. Collective; one all-gather of a few numbers per
// slot. Without a live row the state stays as it is.
GateStep alip_gates(const std::vector<SlotEmbeddings>& own, std::int64_t slots, const GateState& state,
                    const GateOptions& options, collective::Group& group);

// alip_gates() on the rows' device; `h_3` as in GatesThere.
GatesThere alip_gates_there(const std::vector<SlotEmbeddings>& own, std::int64_t slots, const at::Tensor& h_3,
                            const GateOptions& options, collective::Group& group);

// As tensors of a checkpoint: "alip.h_tc", "alip.h_xt", "alip.h_xc", float64 []. Reading throws kDamaged
// naming the tensor that is missing, is no single float64 or is not finite.
std::vector<std::pair<std::string, at::Tensor>> tensors_of(const GateState& state);
GateState gate_state_from(const std::vector<std::pair<std::string, at::Tensor>>& tensors);

}  // namespace trireme::worker::losses
