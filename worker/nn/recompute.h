// Gradient checkpointing: a block whose activations are not kept but computed again, from its input, when its
// gradient is wanted. Same numbers bit for bit, about a third more work.
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::nn {

// `again`: called for the second time, so nothing is to be counted once more.
using RecomputedBlock = std::function<at::Tensor(const at::Tensor& x, bool again)>;

// block(x) for a `block` that depends on x and on `parameters` alone (leaves; those that require gradients
// get them) and draws the same numbers each time. `block` must stay valid until the backward pass and is
// called there under the autocast of the forward pass. Without gradients it is just block(x).
at::Tensor recompute(const RecomputedBlock& block, const at::Tensor& x,
                     const std::vector<at::Tensor>& parameters);

}  // namespace trireme::worker::nn
