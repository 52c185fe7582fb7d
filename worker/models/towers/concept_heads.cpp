#include "worker/models/towers/concept_heads.h"

#include <ATen/ATen.h>

#include <cmath>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::models {

namespace {

constexpr const char* kVocabularyFile = "concepts.json";

[[noreturn]] void damaged(const io::Path& path, const std::string& what) {
  throw Error(ErrorKind::kDamaged, path.string() + ": " + what, "train the model again");
}

}  // namespace

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

void save_heads(const std::string& folder, const SavedHeads& heads) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (std::size_t i = 0; i < heads.weight_VT.size(); ++i) {
    const std::string name = "concepts." + heads.vocabularies.lists[i].name;
    tensors.emplace_back(name + ".weight", heads.weight_VT[i].contiguous());
    tensors.emplace_back(name + ".bias", heads.bias_V[i].contiguous());
  }
  checkpoint::write_safetensors(io::Path(folder) / kHeadsFile, tensors,
                                {{"format", "trireme-concept-heads"},
                                 {"version", "1"},
                                 {"on", heads.on_embedding ? "embedding" : "tower"}});
  io::write_file_atomic(io::Path(folder) / kVocabularyFile, jobs::to_json(heads.vocabularies));
}

std::optional<SavedHeads> load_heads(const std::string& folder) {
  const io::Path path = io::Path(folder) / kHeadsFile, names = io::Path(folder) / kVocabularyFile;
  if (!io::exists(path)) return std::nullopt;
  const checkpoint::SafetensorsFile file(path);
  const auto entry = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (entry("format") != "trireme-concept-heads" || entry("version") != "1")
    damaged(path, "no concept heads of version 1");
  SavedHeads heads;
  heads.on_embedding = entry("on") == "embedding";
  heads.vocabularies = jobs::concept_vocabularies_from_json(io::read_file(names), names.string());
  for (const auto& list : heads.vocabularies.lists) {
    heads.weight_VT.push_back(file.load("concepts." + list.name + ".weight"));
    heads.bias_V.push_back(file.load("concepts." + list.name + ".bias"));
    const at::Tensor &weight = heads.weight_VT.back(), &bias = heads.bias_V.back();
    if (weight.dim() != 2 || weight.size(0) != list.size() || bias.dim() != 1 || bias.size(0) != list.size())
      damaged(path, "head '" + list.name + "' does not fit its vocabulary of " + std::to_string(list.size()));
  }
  return heads;
}

}  // namespace trireme::worker::models
