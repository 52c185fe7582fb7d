// DiHT's auxiliary heads (METHODS 2.3): one linear classifier per vocabulary of concepts on the image side.
// They are trained and checkpointed beside the model; the folder that training leaves has them in files of
// their own, so that the model can label images (stage concepts).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/stages/concept_vocabulary.h"
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

inline constexpr const char* kHeadsFile = "concepts.safetensors";

// Of a model folder: kHeadsFile and concepts.json. A list of `vocabularies` per head, by its name.
struct SavedHeads {
  jobs::ConceptVocabularies vocabularies;
  std::vector<at::Tensor> weight_VT, bias_V;  // float32 on the CPU
  bool on_embedding = false;                  // else on the image tower's output
};
void save_heads(const std::string& folder, const SavedHeads& heads);
// Nothing when the folder has none. Throws kDamaged when they do not fit their vocabularies.
std::optional<SavedHeads> load_heads(const std::string& folder);

}  // namespace trireme::worker::models
