// LAMB (You et al., 2020) as ALIGN is trained with it (METHODS 3.4, 10.5; TensorFlow Addons' semantics). Per
// parameter tensor, k counting updates:
//   m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2
//   u = m/(1-b1^k) / (sqrt(v/(1-b2^k)) + eps) + decay w,   w -= lr r u
//   r = ||w|| / ||u||, 1 when either is 0 or the parameter is not adapted (GroupRule::layer_adaptation)
// Norms in float64. float32 or float64 parameters.
#pragma once

#include <vector>

#include "worker/optim/optimizer.h"

namespace trireme::worker::optim {

class Lamb final : public Optimizer {
 public:
  Lamb(const NamedTensors& parameters, double beta2, double epsilon, const GroupOptions& groups);

 private:
  void update(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each) override;
  void update_one(Slot& slot, const at::Tensor& gradient, const Rates& rates) const;
  std::vector<std::size_t> large_first_;
  double beta2_, epsilon_;
};

}  // namespace trireme::worker::optim
