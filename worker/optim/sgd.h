// Stochastic gradient descent with momentum, torch.optim.SGD's:
//   g += decay w,  m = momentum m + g,  w -= lr m          (no dampening, no Nesterov)
// The first moment's tensors hold m; those of the second stay zero.
#pragma once

#include <vector>

#include "worker/optim/optimizer.h"

namespace trireme::worker::optim {

class Sgd final : public Optimizer {
 public:
  Sgd(const NamedTensors& parameters, double momentum, const GroupOptions& groups);

 private:
  void update(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each) override;
  double momentum_;
};

}  // namespace trireme::worker::optim
