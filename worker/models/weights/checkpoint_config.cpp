#include "worker/models/weights/checkpoint_config.h"

#include <cstdlib>
#include <filesystem>

#include "jobs/specification/job_spec.h"
#include "worker/models/weights/vocabulary_beside.h"

namespace trireme::worker::models {

jobs::CheckpointConfig config_beside(const std::string& file,
                                     const std::map<std::string, std::string>& metadata) {
  jobs::CheckpointConfig config = jobs::read_checkpoint_config(file);
  const auto heads = metadata.find("num_attention_heads");
  if (heads != metadata.end())
    config.facts.push_back({"text/heads",
                            jobs::Json(static_cast<std::int64_t>(std::atoll(heads->second.c_str()))),
                            file + ": num_attention_heads of its metadata"});
  if (metadata.contains("quick_gelu"))  // of a TorchScript archive (pth_to_safetensors.py)
    for (const char* field : {"image/quick_gelu", "text/quick_gelu"})
      config.facts.push_back(
          {field, jobs::Json(metadata.at("quick_gelu") == "true"), file + ": quick_gelu of its metadata"});
  return config;
}

std::optional<jobs::ModelSpec> own_spec(const jobs::CheckpointConfig& config, const std::string& file) {
  if (!config.own) return std::nullopt;
  jobs::ModelSpec spec = jobs::model_from_json(jobs::dump_json(*config.own->find("model")));
  spec.init_from = spec.image.weights = spec.text.weights = "";
  spec.freeze.clear();
  spec.blend.reset();
  spec.image.frozen = spec.text.frozen = false;
  const std::string& vocabulary = config.own->find("vocabulary")->text;
  if (!vocabulary.empty())
    spec.text.tokenizer.vocabulary = (io::Path(file).parent_path() / vocabulary).string();
  return spec;
}

void check_config_beside(const std::string& file, const jobs::CheckpointConfig& config,
                         const jobs::ModelSpec& spec, WeightPart part, WeightFaults& faults) {
  const bool both = part == WeightPart::kBoth;
  for (const std::string& fault : jobs::contradictions(spec, config, both || part == WeightPart::kImage,
                                                       both || part == WeightPart::kText))
    faults.add("config: " + fault);
  if (part != WeightPart::kImage)
    check_vocabulary_beside(io::Path(file).parent_path(), spec.text.tokenizer, faults);
}

}  // namespace trireme::worker::models
