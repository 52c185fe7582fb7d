// Inside of DualEncoder, shared by dual_encoder.cpp and model_folder.cpp only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/models/dual_encoder.h"
#include "worker/models/projection.h"
#include "worker/models/towers.h"

namespace trireme::worker::models {

struct DualEncoder::State {
  // `draw` false: nothing is drawn and no weights file is read; a load_state() follows.
  State(const jobs::ModelSpec& model, std::uint64_t seed, bool draw, const std::string& vocabulary_path);

  jobs::ModelSpec spec;
  std::string vocabulary;  // resolved path, "" for hashed_words
  std::unique_ptr<text::Tokenizer> tokenizer;
  nn::ParameterSet set;
  std::unique_ptr<Tower> image, text;
  Projection image_projection, text_projection;
  at::Tensor logit_scale;
  // Entries of `set`: image tower [0, a), its projection [a, b), text tower [b, c), its projection [c, d).
  std::size_t image_end = 0, image_projection_end = 0, text_end = 0, text_projection_end = 0;

  bool is_frozen(std::size_t entry) const;
  std::vector<std::pair<std::string, at::Tensor*>> standardization();

 private:
  void build_image();
  void build_text();
  void load_image_weights();
  void load_text_weights();
};

}  // namespace trireme::worker::models
