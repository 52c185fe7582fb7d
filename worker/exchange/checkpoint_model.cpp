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
  // How many tensors of theirs make ours.
  std::size_t count_of(const std::string& ours) const {
    const auto found = theirs(ours);
    return found ? found->size() : 0;
  }
  std::int64_t count(const std::string& head, const std::string& tail) const {
    std::int64_t n = 0;
    while (has(std::string(head).append(std::to_string(n)).append(tail))) ++n;
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

std::int64_t usual_heads(std::int64_t width) {
  return std::max<std::int64_t>(1, width / 64);
}

// null where it is the usual 4 width.
std::optional<std::int64_t> mlp_width(const Shapes& shapes, const std::string& fc, std::int64_t width) {
  const std::int64_t inner = shapes.extent(fc, 0);
  return inner == 4 * width || inner < 0 ? std::nullopt : std::optional(inner);
}

void recognise_vit(const Shapes& shapes, jobs::ImageTowerSpec& image) {
  image.width = shapes.extent("visual.conv1.weight", 0);
  image.patch_px = shapes.extent("visual.conv1.weight", 2);
  // A tower without positions is refused by its config; until then it has some resolution.
  const auto positions = std::max<std::int64_t>(2, shapes.extent("visual.positional_embedding", 0));
  image.no_class_token = !shapes.has("visual.class_embedding");
  image.image_px =
      image.patch_px *
      static_cast<std::int64_t>(std::lround(std::sqrt(double(positions - (image.no_class_token ? 0 : 1)))));
  image.layers = shapes.count("visual.transformer.resblocks.", ".ln_1.weight");
  image.ln_pre = shapes.has("visual.ln_pre.weight");
  image.patch_bias = shapes.has("visual.conv1.bias");
  image.heads = usual_heads(image.width);
  const std::string block = "visual.transformer.resblocks.0.";
  image.layer_scale = shapes.has(block + "ls_1.gamma");
  image.attention_norm = shapes.has(block + "attn.ln_inner.weight");
  image.mlp_norm = shapes.has(block + "mlp.ln.weight");
  const std::int64_t inner = shapes.extent(block + "mlp.c_proj.weight", 1);
  image.gated_mlp = shapes.count_of(block + "mlp.c_fc.weight") == 2;
  if (inner > 0 && inner != 4 * image.width) image.mlp_width = inner;
  if (shapes.has("visual.attn_pool.latent")) {
    image.pooling = jobs::ImagePooling::kAttention;
    const std::int64_t pooled = shapes.extent("visual.attn_pool.mlp.fc1.weight", 0);
    if (pooled != image.mlp_width.value_or(4 * image.width)) image.pooling_mlp_width = pooled;
  }
  if (shapes.has("visual.attn_pool.query")) {
    image.pooling = jobs::ImagePooling::kQueries;
    image.pooling_queries = shapes.extent("visual.attn_pool.query", 0);
    image.pooling_width = shapes.extent("visual.attn_pool.query", 1);
  }
}

std::string project_conv(std::int64_t block) {
  return "visual._blocks." + std::to_string(block) + "._project_conv.weight";
}

// timm numbers blocks within their stage: one more there makes another kind (b1 is as wide as b0).
bool has_longer_stage(const SafetensorsFile& file, checkpoint::Layout layout,
                      const std::vector<std::int64_t>& repeats) {
  if (layout != checkpoint::Layout::kTimmEfficientNet) return false;
  std::int64_t behind = 0;
  for (std::size_t stage = 0; stage < repeats.size(); ++stage) {
    behind += repeats[stage];
    auto longer = repeats;
    ++longer[stage];
    if (Shapes(file, NameMap(layout, longer)).has(project_conv(behind))) return true;
  }
  return false;
}

// The kind whose widths and depth these are.
void recognise_efficientnet(const SafetensorsFile& file, checkpoint::Layout layout, bool squeezes,
                            jobs::ImageTowerSpec& image) {
  for (std::size_t kind = 0; kind < names_of(image.kind).size(); ++kind) {
    image.kind = static_cast<jobs::ImageTowerKind>(kind);
    if (!jobs::is_efficientnet(image) || jobs::is_efficientnet_lite(image) == squeezes) continue;
    const auto shape = models::efficientnet_shape(image);
    const Shapes shapes(file, NameMap(layout, shape.repeats));
    const auto last = static_cast<std::int64_t>(shape.blocks.size()) - 1;
    if (shapes.extent("visual._conv_stem.weight", 0) != shape.stem || !shapes.has(project_conv(last)) ||
        shapes.has(project_conv(last + 1)) ||
        shapes.extent(project_conv(last), 0) != shape.blocks.back().out ||
        has_longer_stage(file, layout, shape.repeats))
      continue;
    image.head_conv = shapes.has("visual._conv_head.weight");
    return;
  }
  throw Error(ErrorKind::kInvalid,
              "the EfficientNet has the widths and depth of none of b0 … b7, l2, lite0 … lite2",
              "give width_factor and depth_factor in a model specification");
}

void recognise_bert(const Shapes& shapes, jobs::TextTowerSpec& text) {
  text.kind = jobs::TextTowerKind::kBert;
  text.width = shapes.extent("text.embeddings.word_embeddings.weight", 1);
  text.positions = shapes.extent("text.embeddings.position_embeddings.weight", 0);
  text.context = std::min<std::int64_t>(text.positions, 77);
  text.layers = shapes.count("text.encoder.layer.", ".output.dense.weight");
  text.heads = usual_heads(text.width);
  text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
}

void recognise_transformer(const Shapes& shapes, jobs::TextTowerSpec& text) {
  text.kind = jobs::TextTowerKind::kTransformer;
  text.width = shapes.extent("token_embedding.weight", 1);
  text.context = shapes.extent("positional_embedding", 0);
  if (shapes.has("cls_emb")) {
    text.readout = jobs::TextReadout::kClass;
    --text.context;
  }
  text.mlp_width = mlp_width(shapes, "transformer.resblocks.0.mlp.c_fc.weight", text.width);
  text.layer_scale = shapes.has("transformer.resblocks.0.ls_1.gamma");
  text.layers = shapes.count("transformer.resblocks.", ".ln_1.weight");
  text.heads = usual_heads(text.width);
  text.tokenizer.kind = jobs::TokenizerKind::kClipBpe;
}

void recognise_decoder(const Shapes& shapes, const CheckpointModel& model, jobs::TextTowerSpec& text) {
  text.kind = jobs::TextTowerKind::kDecoder;
  text.width = shapes.extent("decoder.embeddings.word_embeddings.weight", 1);
  text.positions = shapes.extent("decoder.embeddings.position_embeddings.weight", 0);
  text.context = std::min<std::int64_t>(text.positions, 77);
  text.layers = shapes.count("decoder.layers.", ".mlp.out.weight");
  text.heads = usual_heads(text.width);
  text.tied_head = shapes.same("decoder.head.weight", "decoder.embeddings.word_embeddings.weight");
  text.extra_tokens = model.layout == checkpoint::Layout::kHfBlip ? 2 : 0;
  text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
}

jobs::ProjectionKind projection_kind(const Shapes& shapes, const char* matrix, const char* linear) {
  using enum jobs::ProjectionKind;
  return shapes.has(std::string(linear) + ".bias") ? kLinear : shapes.has(matrix) ? kMatrix : kNone;
}

}  // namespace

namespace {

void recognise_image(const SafetensorsFile& file, const Shapes& shapes, CheckpointModel& model) {
  jobs::ImageTowerSpec& image = model.spec.image;
  model.image = true;
  if (shapes.has("visual.conv1.weight"))
    recognise_vit(shapes, image);
  else if (shapes.has("visual._conv_stem.weight"))
    recognise_efficientnet(file, model.layout, shapes.has("visual._blocks.0._se_reduce.weight"), image);
  else
    model.image = false;
}

void recognise_text(const Shapes& shapes, CheckpointModel& model) {
  jobs::TextTowerSpec& text = model.spec.text;
  const char* words = "token_embedding.weight";
  model.text = true;
  if (shapes.has(words))
    recognise_transformer(shapes, text);
  else if (shapes.has(words = "text.embeddings.word_embeddings.weight"))
    recognise_bert(shapes, text);
  else if (shapes.has(words = "decoder.embeddings.word_embeddings.weight"))
    recognise_decoder(shapes, model, text);
  else
    model.text = false;
  if (model.text) model.vocabulary_size = shapes.extent(words, 0);
}

// Where no tensor shows it, a tower without projection is as wide as the shared space. timm's head with a
// bias is a classifier, and no projection.
void recognise_projections(const SafetensorsFile& file, const Shapes& shapes, CheckpointModel& model) {
  jobs::ModelSpec& spec = model.spec;
  if (spec.text.kind == jobs::TextTowerKind::kDecoder) {
    spec.image.projection = spec.text.projection = jobs::ProjectionKind::kNone;
    return;
  }
  const bool classifier = model.layout == checkpoint::Layout::kTimmVit && file.contains("head.bias");
  spec.image.projection =
      classifier ? jobs::ProjectionKind::kNone : projection_kind(shapes, "visual.proj", "visual.projection");
  spec.text.projection = projection_kind(shapes, "text_projection", "text.projection");
  const std::int64_t picture = jobs::is_efficientnet(spec.image)
                                   ? models::efficientnet_shape(spec.image).width()
                                   : spec.image.pooling_width.value_or(spec.image.width);
  spec.embed_dim = model.image ? picture : spec.text.width;
  for (const auto& [name, axis] : {std::pair{"visual.proj", 1},
                                   {"text_projection", 1},
                                   {"visual.projection.weight", 0},
                                   {"text.projection.weight", 0}})
    if (!classifier && shapes.has(name) && shapes.extent(name, axis) > 0)
      spec.embed_dim = shapes.extent(name, axis);
}

// No tensor of a convolution shows the resolution: it is the one for which the folder prepares its pictures.
void prepared_resolution(const jobs::CheckpointConfig& config, jobs::ImageTowerSpec& image) {
  if (!jobs::is_efficientnet(image)) return;
  for (const jobs::ConfigFact& fact : config.facts)
    if (fact.field == "image/resize_px" && fact.image_px) image.image_px = *fact.image_px;
}

// open_clip stretches positions to what its config says; the model that is printed has those of the file.
void refuse_stretched_positions(const jobs::CheckpointConfig& config, CheckpointModel& model) {
  const auto need = [&](bool there, const char* field, std::int64_t said, std::int64_t found) {
    if (there && said != found)
      model.refused.push_back("open_clip_config.json: " + std::string(field) + " is " + std::to_string(said) +
                              ", the file has positions for " + std::to_string(found) +
                              ": open_clip would interpolate them");
  };
  const jobs::ModelSpec& spec = model.spec;
  if (model.layout != checkpoint::Layout::kTrireme) return;
  const bool text = model.text && spec.text.kind == jobs::TextTowerKind::kTransformer,
             image = model.image && spec.image.kind == jobs::ImageTowerKind::kVit && config.image_px &&
                     spec.image.patch_px > 0;
  if (config.context) need(text, "text_cfg.context_length", *config.context, spec.text.context);
  if (image)
    need(true, "vision_cfg.image_size", *config.image_px / spec.image.patch_px * spec.image.patch_px,
         spec.image.image_px);
}

}  // namespace

CheckpointModel recognise(const std::string& path) {
  const std::string file = jobs::resolve_weights(path);
  return recognise(file, SafetensorsFile::of_checkpoint(file));
}

CheckpointModel recognise(const std::string& path, const SafetensorsFile& file) {
  CheckpointModel model;
  model.file = path;
  model.layout = checkpoint::detect_layout(file.names(), model.file);
  const Shapes shapes(file, NameMap(model.layout, {1}));  // one stage of one block: enough for the first
  const jobs::CheckpointConfig config = models::config_beside(model.file, file.metadata());
  recognise_image(file, shapes, model);
  recognise_text(shapes, model);
  if (auto own = models::own_spec(config, model.file)) {
    model.spec = std::move(*own);
    model.own = model.image = model.text = true;
    return model;
  }
  recognise_projections(file, shapes, model);
  refuse_stretched_positions(config, model);
  if (model.image) prepared_resolution(config, model.spec.image);
  jobs::adopt_config(model.spec, config, model.image, model.text, true);
  for (const jobs::ConfigRefusal& refusal : config.refusals)
    if (refusal.tower.empty() || (refusal.tower == "image" ? model.image : model.text))
      model.refused.push_back(refusal.what);
  return model;
}

std::vector<std::pair<std::string, at::Tensor>> read_tensors(const CheckpointModel& model) {
  jobs::ModelSpec spec = model.spec;
  jobs::resolve_model_defaults(spec);
  nn::ParameterSet set(0);
  std::unique_ptr<models::Tower> image, text;
  const auto project = [&](jobs::ProjectionKind kind, const char* matrix, const char* linear,
                           std::int64_t width) {
    if (kind != jobs::ProjectionKind::kNone)
      models::Projection::make(set, kind, kind == jobs::ProjectionKind::kMatrix ? matrix : linear, width,
                               spec.embed_dim);
  };
  if (model.image) {
    image = spec.image.kind == jobs::ImageTowerKind::kVit ? models::make_vision_transformer(spec.image, set)
                                                          : models::make_efficientnet(spec.image, set);
    project(spec.image.projection, "visual.proj", "visual.projection", image->width());
  }
  std::unique_ptr<models::CaptionDecoder> decoder;
  if (model.text && spec.text.kind == jobs::TextTowerKind::kDecoder) {
    if (!model.image)
      throw Error(ErrorKind::kInvalid, model.file + " holds a caption decoder without an image tower",
                  "name the whole captioner");
    decoder = std::make_unique<models::CaptionDecoder>(spec.text, model.vocabulary_size, image->width(), set);
  } else if (model.text) {
    text = spec.text.kind == jobs::TextTowerKind::kTransformer
               ? models::make_text_transformer(spec.text, {model.vocabulary_size, 0, 0}, set)
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
