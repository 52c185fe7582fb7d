// The arithmetic and the memory of a model, from its specification alone: nothing is allocated.
//
//   flops       2 per multiply-add of convolutions, matrix products and attention; of one forward pass.
//               Norms, activations and additions are left out, as in open_clip's and fvcore's counts. A
//               training step is counted as three forward passes, of a frozen tower as one.
//   activation  bytes that one sample's forward pass leaves for its backward pass, float32 (half of it in
//               bf16, about). Inputs of products, norms and activations once each; with gradient
//               checkpointing the input of each block and one block's insides. A frozen tower leaves none.
#pragma once

#include <cstdint>
#include <string>

#include "jobs/specification/model_spec.h"

namespace trireme::worker::models {

struct TowerCost {
  std::int64_t parameters = 0;  // of the tower and its projection
  double forward_flops = 0;     // per image, or per text of the given length
  double activation_bytes = 0;
};

struct ModelCost {
  TowerCost image, text;
  double step_flops = 0;  // one pair through forward and backward
  std::int64_t parameters() const { return image.parameters + text.parameters + 1; }
  double activation_bytes() const { return image.activation_bytes + text.activation_bytes; }
};

// `text_length`: tokens per text; the spec's context where 0. Throws kInvalid as the towers do.
ModelCost model_cost(const jobs::ModelSpec& spec, std::int64_t vocabulary_size, std::int64_t text_length = 0);

// Parameters, FLOPs and activation memory as one line of JSON, for `trireme plan`.
std::string cost_json(const jobs::ModelSpec& spec, const ModelCost& cost);

}  // namespace trireme::worker::models
