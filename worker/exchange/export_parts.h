// What the exports to others' folders share.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include "common/base/enum_names.h"
#include "common/io/file.h"
#include "worker/checkpoint/name_map.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::exchange {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

// kInvalid "<field> has no equal in <target>" unless `fine`.
void need(bool fine, const std::string& field, const std::string& target,
          const std::string& hint = "trireme weights convert writes single towers");

// "<field> <value>", for need().
template <NamedEnum Enum>
std::string said(const char* field, Enum value) {
  return std::string(field) + " " + std::string(name_of(value));
}

// The model of a train stage's folder, or of a run's final/. kInvalid for one that was trained on
// standardised features, which others do not know.
std::unique_ptr<models::DualEncoder> open_for_export(const std::string& folder);

// Every tensor of the model under their name; kInvalid for one that has none there.
Tensors mapped_tensors(models::DualEncoder& model, const checkpoint::NameMap& map, const std::string& target);

void write_json_file(const io::Path& path, const nlohmann::ordered_json& value);

// kInvalid for what open_clip's own towers cannot be told; for what transformers' CLIP and BLIP cannot
// either.
void need_plain_blocks(const jobs::ModelSpec& spec, const std::string& target);
void need_clip_blocks(const jobs::ModelSpec& spec, const std::string& target);

// Our own words for the model, beside theirs in their config: what theirs have none for (the tokenizer's
// cleaning) is read back from there (jobs/checkpoint).
nlohmann::ordered_json model_text(const jobs::ModelSpec& spec);

// preprocessor_config.json for transformers' image processor of that name: CLIPImageProcessor,
// EfficientNetImageProcessor, BlipImageProcessor.
nlohmann::ordered_json hf_preprocessor(const jobs::ImageTowerSpec& image, const std::string& processor);

}  // namespace trireme::worker::exchange
