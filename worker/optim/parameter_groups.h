// How each parameter is treated: weight decay, factor on the learning rate, LAMB's layer adaptation. By rules
// over names (common/base/name_pattern.h), the first that matches.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::optim {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct GroupRule {
  std::string pattern;                                // of the whole name: "visual.*.bias"
  double learning_rate_factor = 1, decay_factor = 1;  // DiHT's heads: 10 and 0.01 (METHODS 2.3)
  bool layer_adaptation = true;                       // LAMB's trust ratio
};

struct GroupOptions {
  double weight_decay = 0.2;
  // false: on tensors of two and more dimensions; gains, biases and the temperature are exempt (CLIP).
  // true: on every parameter (ALIP's code, ALIGN's LAMB).
  bool decay_all = false;
  std::vector<GroupRule> rules;
};

struct Treatment {
  double weight_decay = 0, learning_rate_factor = 1;
  bool layer_adaptation = true;
  auto operator<=>(const Treatment&) const = default;
};

// One per parameter. Throws kInvalid naming a rule whose pattern matches none.
std::vector<Treatment> treatments(const NamedTensors& parameters, const GroupOptions& options);

}  // namespace trireme::worker::optim
