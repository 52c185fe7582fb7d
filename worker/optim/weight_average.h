// The exponential moving average of the weights, evaluated and kept instead of the last ones:
//   a = d a + (1-d) w after every update, a = w at the start;  d = min(decay, (1+k)/(10+k)) for update k with
// `warm_up`, so that the first weights are forgotten fast (as in TensorFlow's ExponentialMovingAverage).
#pragma once

#include <cstdint>
#include <vector>

#include "worker/optim/optimizer.h"

namespace trireme::worker::optim {

class WeightAverage {
 public:
  // `parameters` are read at every update(); decay in [0, 1).
  WeightAverage(const NamedTensors& parameters, double decay, bool warm_up);

  // `taken` as in Optimizer::step(), not_taken() as there.
  void update(const ForEach& for_each, const at::Tensor& taken = {});
  void not_taken() { --updates_; }
  // Swaps averages and weights; a second call swaps back.
  void exchange();

  // "<name>" for each parameter, then "updates" int64 [1]; the tensors share memory with this object.
  NamedTensors state() const;
  // Copies; kDamaged lists missing names and wrong shapes.
  void load_state(const NamedTensors& state);

 private:
  NamedTensors parameters_;
  std::vector<at::Tensor> averages_;
  double decay_;
  bool warm_up_;
  std::int64_t updates_ = 0;
  at::Tensor count_;  // of updates, float64 [], where steps are decided on the device
};

}  // namespace trireme::worker::optim
