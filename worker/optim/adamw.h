// AdamW (Loshchilov and Hutter, 2019) over named parameters:
//   m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,  w -= lr (m/(1-b1^k) / (sqrt(v/(1-b2^k)) + eps) + decay w)
// Decay acts on tensors of two and more dimensions only: gains, biases and the temperature are exempt. Each
// parameter is updated by one thread, so the bits do not depend on how many there are.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::optim {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using ForEach = std::function<void(std::int64_t n, const std::function<void(std::int64_t)>& body)>;

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-6, weight_decay = 0.2;
};

class AdamW {
 public:
  // Updates the given tensors in place; float32, contiguous.
  AdamW(NamedTensors parameters, AdamWOptions options);

  // `gradients` in the order of the parameters, same shapes.
  void step(const std::vector<at::Tensor>& gradients, double learning_rate, const ForEach& for_each);

  std::int64_t updates() const;
  // "exp_avg.<name>", "exp_avg_sq.<name>", then "updates" int64 [1]. The tensors share memory with this
  // object.
  NamedTensors state() const;
  // Copies; kDamaged lists missing names and wrong shapes.
  void load_state(const NamedTensors& state);

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter, mean, square;
    double weight_decay = 0;
  };
  std::vector<Slot> slots_;
  // What one thread updates with one call: small parameters of equal decay together, large ones first.
  std::vector<std::vector<std::size_t>> portions_;
  AdamWOptions options_;
  std::int64_t updates_ = 0;
};

}  // namespace trireme::worker::optim
