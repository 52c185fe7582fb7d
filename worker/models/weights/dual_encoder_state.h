// Inside of DualEncoder, shared by its source files only.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "worker/kernels/replay/replay.h"
#include "worker/models/captioner/caption_decoder.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/towers/projection.h"
#include "worker/models/towers/towers.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {

struct DualEncoder::State {
  // Builds the towers; their tensors are allocated and not yet written.
  State(const jobs::ModelSpec& model, std::uint64_t seed, const std::string& vocabulary_path);

  // Weights that the spec names, then draws for the rest.
  void initialize();
  // The first half alone; names that were found.
  std::unordered_set<std::string> load_named_weights(WeightReading reading);

  jobs::ModelSpec spec;
  std::string vocabulary;  // resolved path, "" for hashed_words
  std::unique_ptr<text::Tokenizer> tokenizer;
  nn::ParameterSet set;
  std::unique_ptr<Tower> image, text;
  std::unique_ptr<CaptionDecoder> decoder;  // in the place of `text`, and then there are no projections
  Projection image_projection, text_projection;
  at::Tensor logit_scale;
  // Entries of `set`: image tower [0, a), its projection [a, b), text tower [b, c), its projection [c, d).
  std::size_t image_end = 0, image_projection_end = 0, text_end = 0, text_projection_end = 0;
  kernels::Replay image_replay, token_replay, text_replay;  // of evaluation passes
  std::int64_t norm_channels = 0;  // of norms with moving statistics; 0 where none is trained

  std::vector<std::pair<std::string, at::Tensor*>> standardization();
  // Pairs of moving buffers (mean, variance) in the order of nn::BatchStatistics; undefined where frozen.
  struct MovingNorm {
    std::string name;  // without ".running_mean"
    at::Tensor mean_C, variance_C;
    bool moves = false;
  };
  std::vector<MovingNorm> moving_norms() const;

 private:
  void build_image();
  void build_text();
  void freeze();
  void load_standardization(const std::string& path, WeightPart part);
};

}  // namespace trireme::worker::models
