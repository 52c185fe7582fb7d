#include "worker/stages/train/saved_heads.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace trireme::worker::stages::train {

NamedTensors heads_of(const NamedTensors& tensors) {
  NamedTensors heads;
  for (const auto& one : tensors)
    if (one.first.starts_with("concepts.")) heads.push_back(one);
  return heads;
}

models::SavedHeads saved_heads(const jobs::ConceptsSpec& spec, const NamedTensors& parameters) {
  models::SavedHeads saved;
  saved.on_embedding = spec.on == "embedding";
  const auto of = [&](const std::string& name) {
    return std::ranges::find(parameters, "concepts." + name, &NamedTensors::value_type::first)
        ->second.detach()
        .to(at::kCPU, at::kFloat, false, /*copy=*/true);
  };
  for (std::size_t h = 0; h < spec.heads.size(); ++h) {
    saved.vocabularies.lists.push_back({spec.heads[h].name, {}});
    for (const auto& name : spec.heads[h].vocabulary)
      saved.vocabularies.lists.back().concepts.push_back({name, -1, "", ""});
    saved.weight_VT.push_back(of(spec.heads[h].name + ".weight"));
    saved.bias_V.push_back(of(spec.heads[h].name + ".bias"));
  }
  return saved;
}

}  // namespace trireme::worker::stages::train
