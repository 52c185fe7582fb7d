#include "worker/models/concept_heads.h"

#include <ATen/ATen.h>

#include <cmath>

namespace trireme::worker::models {

ConceptHeads::ConceptHeads(const std::vector<ConceptHeadShape>& shapes, std::int64_t width,
                           std::uint64_t seed, const std::string& device)
    : set_(seed) {
  for (const auto& shape : shapes)
    heads_.push_back(nn::make_linear_normal(set_, "concepts." + shape.name, width, shape.concepts,
                                            std::pow(static_cast<double>(width), -0.5)));
  set_.draw();
  for (const auto& entry : set_.entries()) {
    at::Tensor tensor = entry.tensor;
    if (device != "cpu") tensor.set_data(tensor.to(at::Device(device)));
    tensor.set_requires_grad(true);
  }
}

at::Tensor ConceptHeads::logits(std::size_t head, const at::Tensor& features_BT) const {
  return heads_[head].forward(features_BT);
}

std::vector<std::pair<std::string, at::Tensor>> ConceptHeads::parameters() const {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (const auto& entry : set_.entries()) named.emplace_back(entry.name, entry.tensor);
  return named;
}

}  // namespace trireme::worker::models
