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
  // Layer-wise rates (Clark et al., 2020; BEiT): what lies above the blocks of a tower (final norms,
  // projections, heads, the temperature) has the whole rate, its top block this times it, and so on down;
  // embeddings come below the first block. 1: all alike.
  double layer_decay = 1;
  // Only parameters whose name begins with `first` learn in the first `late_updates` updates.
  std::string first;
  std::int64_t late_updates = 0;
};

struct Treatment {
  double weight_decay = 0, learning_rate_factor = 1;
  bool layer_adaptation = true;
  std::int64_t late_updates = 0;  // left alone in so many first updates
  auto operator<=>(const Treatment&) const = default;
};

// Exponents of layer_decay, one per name: 0 above the blocks of a tower of L blocks, 1 for the top one, L for
// the first, L + 1 for embeddings.
std::vector<std::int64_t> layer_depths(const NamedTensors& parameters);

// One per parameter. Throws kInvalid naming a rule whose pattern matches none.
std::vector<Treatment> treatments(const NamedTensors& parameters, const GroupOptions& options);

}  // namespace trireme::worker::optim
