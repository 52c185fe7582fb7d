// The norm of the global gradient and its clipping, with bits that depend on nothing but the gradient: sums
// of squares in float64 over fixed blocks of each parameter, each by one thread, added in their order.
#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/optim/optimizer.h"

namespace trireme::worker::optim {

// sqrt(sum of squares); not finite when any element is not.
double gradient_norm(const std::vector<at::Tensor>& gradients, const ForEach& for_each);

// Scales the gradients in place by most/norm when norm > most > 0. Returns the factor.
double clip_gradients(const std::vector<at::Tensor>& gradients, double norm, double most,
                      const ForEach& for_each);

// The same on their device, where nobody looks: the norm as float64 [], and the scaling by it.
at::Tensor gradient_norm_there(const std::vector<at::Tensor>& gradients);
void clip_gradients_there(const std::vector<at::Tensor>& gradients, const at::Tensor& norm, double most);

}  // namespace trireme::worker::optim
