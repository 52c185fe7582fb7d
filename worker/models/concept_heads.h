// DiHT's auxiliary heads (METHODS 2.3): one linear classifier per vocabulary of concepts on the image side.
// They are trained and checkpointed, and are no part of the model folder that training leaves.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/nn/layers.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

struct ConceptHeadShape {
  std::string name;
  std::int64_t concepts = 0;  // size of the vocabulary
};

class ConceptHeads {
 public:
  // On features [B, `width`]. Parameters "concepts.<name>.weight" [V, width], normal width^-0.5, and ".bias"
  // [V], zero; drawn from (seed, name). They require gradients.
  ConceptHeads(const std::vector<ConceptHeadShape>& shapes, std::int64_t width, std::uint64_t seed,
               const std::string& device);

  std::size_t size() const { return heads_.size(); }
  at::Tensor logits(std::size_t head, const at::Tensor& features_BT) const;  // [B, V]
  std::vector<std::pair<std::string, at::Tensor>> parameters() const;        // in a fixed order

 private:
  nn::ParameterSet set_;
  std::vector<nn::Linear> heads_;
};

}  // namespace trireme::worker::models
