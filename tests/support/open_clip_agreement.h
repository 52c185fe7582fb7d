// A checkpoint folder beside what its own code computed (tests/oracles/open_clip_table.py): loaded by the
// specification that `weights inspect` prints, compared on given pixels and token ids.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "worker/checkpoint/safetensors.h"
#include "worker/exchange/checkpoint_model.h"
#include "worker/models/dual_encoder.h"

namespace trireme::testing {

struct Agreement {
  std::vector<std::string> refused;
  double image = 0, text = 0;  // largest difference of an embedding's component; rows have norm 1
};

// With a text tower that nobody asks.
inline void image_alone(jobs::ModelSpec& spec, const std::string& weights) {
  spec.image.weights = weights;
  spec.text.kind = jobs::TextTowerKind::kTransformer;
  spec.text.width = spec.text.context = 8;
  spec.text.layers = spec.text.heads = 1;
  spec.text.projection = jobs::ProjectionKind::kMatrix;
}

// `folder`: config and weights; inputs.safetensors: "input.image", "input.tokens", "output.image",
// "output.text"; of an image tower alone (timm's) without the text's, its output made a unit row. The weights
// are loaded from a folder without the config: the specification says it all.
inline Agreement agreement_with(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  Agreement result;
  const auto model = worker::exchange::recognise(folder.string());
  result.refused = model.refused;
  if (!result.refused.empty()) return result;
  const fs::path bare = folder / "bare";
  fs::create_directories(bare);
  const fs::path weights = bare / fs::path(model.file).filename();
  if (!fs::exists(weights)) fs::create_symlink(fs::absolute(model.file), weights);
  jobs::ModelSpec spec = model.spec;
  if (model.text)
    spec.init_from = weights.string();
  else
    image_alone(spec, weights.string());
  spec.text.tokenizer = {};  // ids are given
  if (model.text) spec.text.tokenizer.buckets = model.vocabulary_size;
  const at::NoGradGuard no_grad;
  worker::models::DualEncoder encoder(spec, 1);
  const worker::checkpoint::SafetensorsFile io(folder / "inputs.safetensors");
  const auto away = [](const at::Tensor& ours, const at::Tensor& theirs) {
    return (ours.to(at::kDouble) - theirs.to(at::kDouble)).abs().max().item<double>();
  };
  result.image = away(encoder.encode_image(io.load("input.image")), io.load("output.image"));
  if (model.text) result.text = away(encoder.encode_text(io.load("input.tokens")), io.load("output.text"));
  return result;
}

}  // namespace trireme::testing
