// What the files beside a checkpoint's tensors say about the model, in the words of ModelSpec: everything
// that changes numbers without changing a tensor's name or shape. Read are open_clip_config.json, config.json
// (transformers' CLIP, SigLIP, ALIGN, BERT and BLIP, timm's, and a train stage's own; a training checkpoint
// has the job in its manifest.json instead),
// preprocessor_config.json, tokenizer_config.json and sentence-transformers' 1_Pooling/config.json. A field
// that is neither understood nor on a list of harmless ones, and a value that no model here computes, is a
// refusal with its name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/json_document.h"

namespace trireme::jobs {

struct ConfigFact {
  std::string field;  // of a model: "image/pooling", "text/tokenizer/cleaning"
  Json value;         // what it must be
  std::string said;   // where: "open_clip_config.json: model_cfg.vision_cfg.pool_type"
  std::optional<std::int64_t> image_px = {};  // only for models of this resolution
};

struct ConfigRefusal {
  std::string tower;  // "image", "text"; "": both
  std::string
      what;  // "open_clip_config.json: model_cfg.vision_cfg.qk_norm is true, which no tower here computes"
};

struct CheckpointConfig {
  std::vector<ConfigFact> facts;
  std::vector<ConfigRefusal> refusals;
  // open_clip's: where the file has other positions it stretches them as it loads.
  std::optional<std::int64_t> context, image_px;
  std::optional<Json> own;       // the config.json of a train stage's folder, or what stands for it
  std::optional<Json> exported;  // our words for the model in a config that `trireme export` wrote
};

// `weights_file`: a file of tensors; its folder is looked at. Throws kDamaged for a config that is no JSON
// object or whose fields have other types than theirs.
CheckpointConfig read_checkpoint_config(const std::string& weights_file);

// Fills fields of the model that say nothing with what the config says, for the towers named ("image",
// "text"); what is given stays unless `stated_too`. Call before resolve_model_defaults().
void adopt_config(ModelSpec& model, const CheckpointConfig& config, bool image, bool text,
                  bool stated_too = false);
// The same for every file that the model names in weights and init_from; files that are not there are left to
// the loader. `pretrained:` names have no config.
void adopt_configs(ModelSpec& model);

// What the config refuses, and where the model says otherwise, both values named. Defaults are resolved.
std::vector<std::string> contradictions(const ModelSpec& model, const CheckpointConfig& config, bool image,
                                        bool text);

// adopt_configs() and resolve_model_defaults() of every model of a job whose paths are absolute.
void settle_models(JobSpec& job);

}  // namespace trireme::jobs
