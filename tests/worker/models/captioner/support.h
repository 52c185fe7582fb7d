// The small BLIP of tests/golden/captioner.safetensors (tests/oracles/record_captioner.py) and a vocabulary
// for it.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "common/io/file.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::models::captioner_test {

inline const checkpoint::SafetensorsFile& golden() {
  static const checkpoint::SafetensorsFile file(std::string(TRIREME_SOURCE_DIR) +
                                                "/tests/golden/captioner.safetensors");
  return file;
}

inline std::filesystem::path scratch(const std::string& name) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("trireme_captioner_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return folder / name;
}

// `pieces` lines: [PAD] [UNK] [CLS] [SEP], then w4, w5 …
inline std::string vocabulary(std::int64_t pieces) {
  std::string lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
  for (std::int64_t i = 4; i < pieces; ++i) lines += "w" + std::to_string(i) + "\n";
  const auto path = scratch("vocabulary" + std::to_string(pieces) + ".txt");
  io::write_file_atomic(path, lines, false);
  return path.string();
}

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

inline Tensors weights() {
  Tensors tensors;
  static const std::string kPrefix = "weight.";
  for (const std::string& name : golden().names())
    if (name.starts_with(kPrefix)) tensors.emplace_back(name.substr(kPrefix.size()), golden().load(name));
  return tensors;
}

inline std::string checkpoint_of(const std::string& name, const Tensors& tensors) {
  const auto path = scratch(name + ".safetensors");
  checkpoint::write_safetensors(path, tensors, {}, false);
  return path.string();
}

inline jobs::ModelSpec blip_spec() {
  at::set_num_threads(1);  // of products so small, threads only wait for one another
  jobs::ModelSpec spec;
  spec.image.image_px = 32;
  spec.image.patch_px = 16;
  spec.image.width = 24;
  spec.image.layers = 2;
  spec.image.heads = 3;
  spec.image.ln_pre = false;
  spec.image.patch_bias = true;
  spec.image.resize_mode = jobs::ResizeMode::kSquare;
  spec.text.kind = jobs::TextTowerKind::kDecoder;
  spec.text.width = 20;
  spec.text.layers = 3;
  spec.text.heads = 5;
  spec.text.context = spec.text.positions = 24;
  spec.text.extra_tokens = 2;
  spec.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
  spec.text.tokenizer.vocabulary = vocabulary(88);
  spec.init_from = checkpoint_of("blip", weights());
  return spec;
}

}  // namespace trireme::worker::models::captioner_test
