// The config beside a file of weights (jobs/checkpoint) on the worker's side: what the loader compares.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "jobs/checkpoint/checkpoint_config.h"
#include "jobs/specification/model_spec.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {

// jobs::read_checkpoint_config() of the file, and "num_attention_heads" of its metadata.
jobs::CheckpointConfig config_beside(const std::string& file,
                                     const std::map<std::string, std::string>& metadata);

// Of a folder that a train stage wrote: the specification in its config.json, with `tokenizer.vocabulary` the
// file in the folder and without weights, init_from, freeze and frozen.
std::optional<jobs::ModelSpec> own_spec(const jobs::CheckpointConfig& config, const std::string& file);

// Everything in which the spec is not what the config says, and what the config asks for in vain, as faults.
void check_config_beside(const std::string& file, const jobs::CheckpointConfig& config,
                         const jobs::ModelSpec& spec, WeightPart part, WeightFaults& faults);

}  // namespace trireme::worker::models
