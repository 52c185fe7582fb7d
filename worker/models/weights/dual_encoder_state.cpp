#include "worker/models/weights/dual_encoder_state.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "jobs/specification/model_defaults.h"
#include "jobs/store/published.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/models/weights/name_patterns.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {
namespace {

std::vector<nn::NamedTensor> entries(const nn::ParameterSet& set, std::size_t first, std::size_t last) {
  return {set.entries().begin() + static_cast<std::ptrdiff_t>(first),
          set.entries().begin() + static_cast<std::ptrdiff_t>(last)};
}

jobs::ModelSpec resolved(jobs::ModelSpec spec) {
  jobs::resolve_model_defaults(spec);
  return spec;
}

}  // namespace

DualEncoder::State::State(const jobs::ModelSpec& model, std::uint64_t seed,
                          const std::string& vocabulary_path)
    : spec(resolved(model)), vocabulary(vocabulary_path), set(seed) {
  tokenizer = tokenizer_of(spec.text.tokenizer, vocabulary);
  build_image();
  build_text();
  logit_scale = set.constant("logit_scale", {}, spec.logit_scale_init);
  freeze();
}

void DualEncoder::State::build_image() {
  if (spec.image.kind == jobs::ImageTowerKind::kVit)
    image = make_vision_transformer(spec.image, set);
  else
    image = make_efficientnet(spec.image, set);
  image_end = set.entries().size();
  const jobs::ProjectionKind kind = spec.image.projection;
  if (spec.text.kind != jobs::TextTowerKind::kDecoder)
    image_projection = Projection::make(
        set, kind, kind == jobs::ProjectionKind::kMatrix ? "visual.proj" : "visual.projection",
        image->width(), spec.embed_dim);
  image_projection_end = set.entries().size();
}

void DualEncoder::State::build_text() {
  const std::int64_t vocabulary_size = tokenizer->vocabulary_size();
  if (spec.text.kind == jobs::TextTowerKind::kDecoder) {
    decoder = std::make_unique<CaptionDecoder>(spec.text, vocabulary_size + spec.text.extra_tokens,
                                               image->width(), set);
    text_end = text_projection_end = set.entries().size();
    return;
  }
  if (spec.text.kind == jobs::TextTowerKind::kTransformer)
    text = make_text_transformer(spec.text, {vocabulary_size, tokenizer->end_id(), tokenizer->pad_id()}, set);
  else
    text = make_bert(spec.text, vocabulary_size, tokenizer->pad_id(), set);
  text_end = set.entries().size();
  const jobs::ProjectionKind kind = spec.text.projection;
  text_projection = Projection::make(
      set, kind, kind == jobs::ProjectionKind::kMatrix ? "text_projection" : "text.projection", text->width(),
      spec.embed_dim);
  text_projection_end = set.entries().size();
}

// Frozen towers, then patterns; a norm that is not trained keeps its statistics too.
void DualEncoder::State::freeze() {
  std::vector<std::string> names;
  for (const nn::NamedTensor& entry : set.entries()) names.push_back(entry.name);
  const std::vector<bool> by_pattern = named_by(spec.freeze, names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool frozen =
        i < image_end ? spec.image.frozen : i >= image_projection_end && i < text_end && spec.text.frozen;
    at::Tensor(set.entries()[i].tensor)
        .set_requires_grad(!set.entries()[i].buffer && !frozen && !by_pattern[i]);
  }
  if (decoder) logit_scale.set_requires_grad(false);  // it has no pairs to scale
  for (const MovingNorm& norm : moving_norms())
    if (norm.moves) norm_channels = image->norm_channels();
}

std::vector<DualEncoder::State::MovingNorm> DualEncoder::State::moving_norms() const {
  std::vector<MovingNorm> norms;
  if (image->norm_channels() == 0) return norms;
  static const std::string kMean = ".running_mean";
  for (std::size_t i = 0; i < image_end; ++i) {
    const auto& entry = set.entries()[i];  // weight, bias, running_mean, running_var follow one another
    if (!entry.name.ends_with(kMean)) continue;
    norms.push_back({entry.name.substr(0, entry.name.size() - kMean.size()), entry.tensor,
                     set.entries()[i + 1].tensor, set.entries()[i - 2].tensor.requires_grad()});
  }
  return norms;
}

// init_from first, so that a tower's own weights win.
std::unordered_set<std::string> DualEncoder::State::load_named_weights(WeightReading reading) {
  std::unordered_set<std::string> loaded;
  const auto load = [&](const std::string& weights, WeightPart part, std::size_t first, std::size_t last) {
    if (weights.empty()) return;
    const std::string path = jobs::resolve_weights(weights);
    load_weights(path, spec, part, entries(set, first, last), loaded, reading);
    load_standardization(path, part);
  };
  load(spec.init_from, WeightPart::kBoth, 0, set.entries().size());
  load(spec.image.weights, WeightPart::kImage, 0, image_projection_end);
  load(spec.text.weights, WeightPart::kText, image_projection_end, text_projection_end);
  // One file for both towers: its temperature belongs to them.
  if (!spec.text.weights.empty() && spec.text.weights == spec.image.weights)
    load_weights(jobs::resolve_weights(spec.text.weights), spec, WeightPart::kTemperature,
                 {set.entries().back()}, loaded, reading);
  return loaded;
}

void DualEncoder::State::initialize() {
  set.draw(load_named_weights(WeightReading::kCopy));
}

// A model of ours that learnt from stored features has their mean and deviation beside its weights, and its
// projections mean something only with them.
void DualEncoder::State::load_standardization(const std::string& path, WeightPart part) {
  if (decoder) return;
  const auto file = checkpoint::SafetensorsFile::of_checkpoint(path);
  for (auto& [name, tensor] : standardization()) {
    const bool of_image = name.starts_with("image");
    if (part == (of_image ? WeightPart::kText : WeightPart::kImage) || !file.contains(name)) continue;
    const std::int64_t width = of_image ? image->width() : text->width();
    at::Tensor value = file.load(name);
    if (value.sizes() != at::IntArrayRef{width} || value.scalar_type() != at::kFloat)
      throw Error(ErrorKind::kInvalid,
                  std::string(path)
                          .append(": ")
                          .append(name)
                          .append(" is not float32 [")
                          .append(std::to_string(width)) +
                      "]",
                  "name the model.safetensors that a train stage has written");
    *tensor = std::move(value);
  }
}

std::vector<std::pair<std::string, at::Tensor*>> DualEncoder::State::standardization() {
  return {{"image_mean", &image_projection.mean_T},
          {"image_inverse_std", &image_projection.inverse_std_T},
          {"text_mean", &text_projection.mean_T},
          {"text_inverse_std", &text_projection.inverse_std_T}};
}

}  // namespace trireme::worker::models
