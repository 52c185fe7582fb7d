// AdamW (Loshchilov and Hutter, 2019) over named float32 parameters, torch's fused operation:
//   m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,  w -= lr (m/(1-b1^k) / (sqrt(v/(1-b2^k)) + eps) + decay w)
// k counts updates; b1 is that of the step, also in the bias correction (as in torch, where ALIP's schedule
// moves it).
#pragma once

#include <cstdint>
#include <vector>

#include "worker/optim/optimizer.h"

namespace trireme::worker::optim {

class AdamW final : public Optimizer {
 public:
  AdamW(const NamedTensors& parameters, double beta2, double epsilon, const GroupOptions& groups);

 private:
  void update(const std::vector<at::Tensor>& gradients, const Rates& rates, const ForEach& for_each) override;
  // What one thread updates with one call: small parameters that are treated alike together, large ones
  // first.
  std::vector<std::vector<std::size_t>> portions_;
  double beta2_, epsilon_;
};

}  // namespace trireme::worker::optim
