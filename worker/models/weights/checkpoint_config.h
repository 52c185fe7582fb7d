// What a checkpoint's tensors do not show and its config.json does: heads and activation.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "jobs/specification/model_spec.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {

struct TowerFacts {
  std::optional<std::int64_t> heads;
  std::optional<bool> quick_gelu;
};
struct CheckpointFacts {
  TowerFacts image, text;
};
// From the files that check_config_beside() reads; nothing where they say nothing or are no JSON.
CheckpointFacts config_beside(const std::string& file, const std::map<std::string, std::string>& metadata);

// Of a folder that a train stage wrote: the specification in its config.json, with `tokenizer.vocabulary` the
// file in the folder and without weights, init_from, freeze and frozen. Throws kInvalid when it cannot be
// read.
std::optional<jobs::ModelSpec> own_spec_beside(const std::string& file);

// Compares the spec with open_clip_config.json or config.json beside the file (open_clip's, transformers'
// CLIP, ALIGN, BERT and BLIP; our own, which also tells the preprocessing, the pooling and the tokenizer),
// and with "num_attention_heads" in the file's metadata. What these do not say is not checked; a config that
// is no JSON is a fault.
void check_config_beside(const std::string& file, const std::map<std::string, std::string>& metadata,
                         const jobs::ModelSpec& spec, WeightPart part, WeightFaults& faults);

}  // namespace trireme::worker::models
