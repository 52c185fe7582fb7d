#include "worker/exchange/checkpoint_model.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "jobs/specification/model_defaults.h"
#include "jobs/store/published.h"
#include "worker/models/captioner/caption_decoder.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/towers/efficientnet_shape.h"
#include "worker/models/towers/projection.h"
#include "worker/models/towers/towers.h"
#include "worker/models/weights/checkpoint_config.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::exchange {
namespace {

using checkpoint::NameMap;
using checkpoint::SafetensorsFile;

// Shapes of a file under our names.
class Shapes {
 public:
  Shapes(const SafetensorsFile& file, NameMap map) : file_(file), map_(std::move(map)) {}

  bool has(const std::string& ours) const { return theirs(ours).has_value(); }
  // Extent of theirs as they hold it; -1 when absent.
  std::int64_t extent(const std::string& ours, std::int64_t axis) const {
    const auto rule = map_.rule(ours);
    const auto found = theirs(ours);
    if (!found) return -1;
    at::Tensor value = file_.view(found->front());
    if (rule->op == checkpoint::TensorRule::Op::kReshape)
      while (value.dim() > 1 && value.size(0) == 1) value = value.squeeze(0);
    if (rule->op == checkpoint::TensorRule::Op::kTranspose && value.dim() == 2) value = value.t();
    return axis < value.dim() ? value.size(axis) : -1;
  }
  // Whether `first` is absent or equals `second`.
  bool same(const std::string& first, const std::string& second) const {
    const auto a = theirs(first), b = theirs(second);
    return !a || (b && at::equal(file_.view(a->front()), file_.view(b->front())));
  }
  std::int64_t count(const std::string& head, const std::string& tail) const {
    std::int64_t n = 0;
    while (has(head + std::to_string(n) + tail)) ++n;
    return n;
  }

 private:
  std::optional<std::vector<std::string>> theirs(const std::string& ours) const {
    const auto rule = map_.rule(ours);
    return rule ? find_theirs(file_, *rule) : std::nullopt;
  }

  const SafetensorsFile& file_;
  NameMap map_;
};

std::int64_t heads_of(const models::TowerFacts& facts, std::int64_t width) {
  return facts.heads.value_or(std::max<std::int64_t>(1, width / 64));
}

void recognise_vit(const Shapes& shapes, const models::TowerFacts& facts, jobs::ImageTowerSpec& image) {
  image.width = shapes.extent("visual.conv1.weight", 0);
  image.patch_px = shapes.extent("visual.conv1.weight", 2);
  const auto positions = shapes.extent("visual.positional_embedding", 0);
  image.image_px = image.patch_px * static_cast<std::int64_t>(std::lround(std::sqrt(double(positions - 1))));
  image.layers = shapes.count("visual.transformer.resblocks.", ".ln_1.weight");
  image.ln_pre = shapes.has("visual.ln_pre.weight");
  image.patch_bias = shapes.has("visual.conv1.bias");
  image.heads = heads_of(facts, image.width);
  image.quick_gelu = facts.quick_gelu.value_or(false);
}

// The kind whose widths and depth these are.
void recognise_efficientnet(const SafetensorsFile& file, checkpoint::Layout layout, bool squeezes,
                            jobs::ImageTowerSpec& image) {
  for (const std::string& kind : jobs::ImageTowerSpec::image_tower_kinds()) {
    image.kind = kind;
    if (!jobs::is_efficientnet(image) || jobs::is_efficientnet_lite(image) == squeezes) continue;
    const auto shape = models::efficientnet_shape(image);
    const Shapes shapes(file, NameMap(layout, shape.repeats));
    const auto last = static_cast<std::int64_t>(shape.blocks.size()) - 1;
    const auto block = [](std::int64_t i) {
      return "visual._blocks." + std::to_string(i) + "._project_conv.weight";
    };
    if (shapes.extent("visual._conv_stem.weight", 0) != shape.stem || !shapes.has(block(last)) ||
        shapes.has(block(last + 1)) || shapes.extent(block(last), 0) != shape.blocks.back().out)
      continue;
    image.head_conv = shapes.has("visual._conv_head.weight");
    return;
  }
  throw Error(ErrorKind::kInvalid,
              "the EfficientNet has the widths and depth of none of b0 … b7, l2, lite0 … lite2",
              "give width_factor and depth_factor in a model specification");
}

void recognise_bert(const Shapes& shapes, const models::TowerFacts& facts, jobs::TextTowerSpec& text) {
  text.kind = "bert";
  text.width = shapes.extent("text.embeddings.word_embeddings.weight", 1);
  text.positions = shapes.extent("text.embeddings.position_embeddings.weight", 0);
  text.context = std::min<std::int64_t>(text.positions, 77);
  text.layers = shapes.count("text.encoder.layer.", ".output.dense.weight");
  text.heads = heads_of(facts, text.width);
  text.tokenizer.kind = "wordpiece";
}

void recognise_transformer(const Shapes& shapes, const models::TowerFacts& facts, jobs::TextTowerSpec& text) {
  text.kind = "transformer";
  text.width = shapes.extent("token_embedding.weight", 1);
  text.context = shapes.extent("positional_embedding", 0);
  text.layers = shapes.count("transformer.resblocks.", ".ln_1.weight");
  text.heads = heads_of(facts, text.width);
  text.quick_gelu = facts.quick_gelu.value_or(false);
  text.tokenizer.kind = "clip_bpe";
}

void recognise_decoder(const Shapes& shapes, const CheckpointModel& model, const models::TowerFacts& facts,
                       jobs::TextTowerSpec& text) {
  text.kind = "decoder";
  text.width = shapes.extent("decoder.embeddings.word_embeddings.weight", 1);
  text.positions = shapes.extent("decoder.embeddings.position_embeddings.weight", 0);
  text.context = std::min<std::int64_t>(text.positions, 77);
  text.layers = shapes.count("decoder.layers.", ".mlp.out.weight");
  text.heads = heads_of(facts, text.width);
  text.tied_head = shapes.same("decoder.head.weight", "decoder.embeddings.word_embeddings.weight");
  text.extra_tokens = model.layout == checkpoint::Layout::kHfBlip ? 2 : 0;
  text.tokenizer.kind = "wordpiece";
}

const char* projection_kind(const Shapes& shapes, const char* matrix, const char* linear) {
  return shapes.has(matrix) ? "matrix" : shapes.has(std::string(linear) + ".weight") ? "linear" : "none";
}

}  // namespace

CheckpointModel recognise(const std::string& path) {
  CheckpointModel model;
  model.file = jobs::resolve_weights(path);
  const SafetensorsFile file{io::Path(model.file)};
  model.layout = checkpoint::detect_layout(file.names(), model.file);
  const Shapes shapes(file, NameMap(model.layout, {1}));  // one stage of one block: enough for the first
  jobs::ModelSpec& spec = model.spec;
  if (auto own = models::own_spec_beside(model.file)) {
    spec = std::move(*own);
    model.own = model.image = model.text = true;
    for (const char* words : {"token_embedding.weight", "text.embeddings.word_embeddings.weight",
                              "decoder.embeddings.word_embeddings.weight"})
      model.vocabulary_size = std::max(model.vocabulary_size, shapes.extent(words, 0));
    return model;
  }
  const auto facts = models::config_beside(model.file, file.metadata());
  model.image = true;
  if (shapes.has("visual.conv1.weight"))
    recognise_vit(shapes, facts.image, spec.image);
  else if (shapes.has("visual._conv_stem.weight"))
    recognise_efficientnet(file, model.layout, shapes.has("visual._blocks.0._se_reduce.weight"), spec.image);
  else
    model.image = false;
  model.text = true;
  if (shapes.has("token_embedding.weight")) {
    recognise_transformer(shapes, facts.text, spec.text);
    model.vocabulary_size = shapes.extent("token_embedding.weight", 0);
  } else if (shapes.has("text.embeddings.word_embeddings.weight")) {
    recognise_bert(shapes, facts.text, spec.text);
    model.vocabulary_size = shapes.extent("text.embeddings.word_embeddings.weight", 0);
  } else if (shapes.has("decoder.embeddings.word_embeddings.weight")) {
    recognise_decoder(shapes, model, facts.text, spec.text);
    model.vocabulary_size = shapes.extent("decoder.embeddings.word_embeddings.weight", 0);
    spec.image.projection = spec.text.projection = "none";
    return model;
  } else {
    model.text = false;
  }
  spec.image.projection = projection_kind(shapes, "visual.proj", "visual.projection");
  spec.text.projection = projection_kind(shapes, "text_projection", "text.projection");
  for (const auto& [name, axis] : {std::pair{"visual.proj", 1},
                                   {"text_projection", 1},
                                   {"visual.projection.weight", 0},
                                   {"text.projection.weight", 0}})
    if (shapes.has(name)) spec.embed_dim = shapes.extent(name, axis);
  return model;
}

std::vector<std::pair<std::string, at::Tensor>> read_tensors(const CheckpointModel& model) {
  jobs::ModelSpec spec = model.spec;
  jobs::resolve_model_defaults(spec);
  nn::ParameterSet set(0);
  std::unique_ptr<models::Tower> image, text;
  const auto project = [&](const std::string& kind, const char* matrix, const char* linear,
                           std::int64_t width) {
    if (kind != "none")
      models::Projection::make(set, kind, kind == "matrix" ? matrix : linear, width, spec.embed_dim);
  };
  if (model.image) {
    image = spec.image.kind == "vit" ? models::make_vision_transformer(spec.image, set)
                                     : models::make_efficientnet(spec.image, set);
    project(spec.image.projection, "visual.proj", "visual.projection", image->width());
  }
  std::unique_ptr<models::CaptionDecoder> decoder;
  if (model.text && spec.text.kind == "decoder") {
    if (!model.image)
      throw Error(ErrorKind::kInvalid, model.file + " holds a caption decoder without an image tower",
                  "name the whole captioner");
    decoder = std::make_unique<models::CaptionDecoder>(spec.text, model.vocabulary_size, image->width(), set);
  } else if (model.text) {
    text = spec.text.kind == "transformer"
               ? models::make_text_transformer(spec.text, model.vocabulary_size, 0, set)
               : models::make_bert(spec.text, model.vocabulary_size, 0, set);
    project(spec.text.projection, "text_projection", "text.projection", text->width());
  }
  if (model.image && model.text) set.constant("logit_scale", {}, spec.logit_scale_init);
  std::unordered_set<std::string> loaded;
  const auto part = model.image && model.text ? models::WeightPart::kBoth
                    : model.image             ? models::WeightPart::kImage
                                              : models::WeightPart::kText;
  models::load_weights(model.file, spec, part, set.entries(), loaded);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& entry : set.entries())
    if (loaded.contains(entry.name)) tensors.emplace_back(entry.name, entry.tensor);
  return tensors;
}

}  // namespace trireme::worker::exchange
