#include "jobs/specification/checks/check_model.h"
#include "jobs/specification/checks/check_unread.h"

#include <algorithm>
#include <string>

#include "jobs/specification/json/names.h"
#include "jobs/specification/model_defaults.h"

namespace trireme::jobs {
namespace {

// `given`: weights come from a checkpoint, whose pictures may be no whole number of patches.
void check_vit(const ImageTowerSpec& image, bool given, const auto& fault) {
  if (image.image_px < image.patch_px || (!given && image.image_px % image.patch_px != 0))
    fault("image_px",
          std::to_string(image.image_px) + " is no multiple of patch_px " + std::to_string(image.patch_px),
          "");
  if (image.width % image.heads != 0)
    fault("width", std::to_string(image.width) + " is no multiple of heads " + std::to_string(image.heads),
          "");
  const bool reads_class = image.pooling == ImagePooling::kUnset || image.pooling == ImagePooling::kClass;
  if (image.no_class_token && reads_class && image.weights.empty())
    fault("pooling", "there is no class token to read", "mean or attention");
  if (image.norm_after_pooling && image.pooling != ImagePooling::kMean)
    fault("norm_after_pooling", "belongs to pooling mean", "leave it out");
  if (image.pooling_queries && image.pooling != ImagePooling::kQueries)
    fault("pooling_queries", "belongs to pooling queries", "leave it out");
  if (image.rotary == RotaryOrder::kOff && (image.rotary_offset || image.rotary_reference))
    fault("rotary", "is empty, rotary_offset and rotary_reference belong to it", "ij or xy");
  if (image.activation != ActivationKind::kByQuickGelu && image.quick_gelu)
    fault("activation", "contradicts quick_gelu", "keep one");
}

// Fields that an efficientnet does not read.
void check_no_vit(const ImageTowerSpec& image, const auto& fault) {
  const auto only = [&](bool given, const char* field) {
    if (given) fault(field, "belongs to a vit", "leave it out");
  };
  only(image.pooling != ImagePooling::kUnset, "pooling");
  only(image.activation != ActivationKind::kByQuickGelu, "activation");
  only(image.rotary != RotaryOrder::kOff, "rotary");
  only(image.mlp_width.has_value(), "mlp_width");
  only(image.layer_scale, "layer_scale");
  only(image.no_class_token, "no_class_token");
}

void check_image(const ImageTowerSpec& image, bool given, const std::string& at,
                 std::vector<SpecFault>& faults) {
  const auto fault = [&](const char* field, const std::string& detail, const std::string& hint = "") {
    add_fault(faults, {at + "/image/" + field, "invalid", detail, hint});
  };
  if (image.kind == ImageTowerKind::kVit)
    check_vit(image, given, fault);
  else
    check_no_vit(image, fault);
  if (image.fill_level && image.resize_mode != ResizeMode::kLongest)
    fault("fill_level", "belongs to resize_mode longest", "leave it out");
  if (image.crop_rounding != CropRounding::kUnset && image.resize_mode == ResizeMode::kLongest)
    fault("crop_rounding", "is read by nothing where resize_mode longest crops nothing", "leave it out");
  if (image.resize_px && *image.resize_px < image.image_px) fault("resize_px", "is below image_px");
  if (!image.mean.empty() && image.mean.size() != 3) fault("mean", "three channels wanted");
  if (!image.std.empty() && image.std.size() != 3) fault("std", "three channels wanted");
  if (std::ranges::any_of(image.std, [](double value) { return value <= 0; }))
    fault("std", "must be above 0");
}

// A frozen tower has weights of its own, or both come from init_from.
void check_frozen(const ModelSpec& model, const std::string& at, std::vector<SpecFault>& faults) {
  const auto fault = [&](const char* tower) {
    add_fault(faults, {at + "/" + tower + "/weights", "invalid", "a frozen tower needs weights",
                       "a safetensors file"});
  };
  const bool both = !model.init_from.empty();
  if (model.image.frozen && model.image.weights.empty() && !both) fault("image");
  if (model.text.frozen && model.text.weights.empty() && !both) fault("text");
}

void check_text(const TextTowerSpec& text, const std::string& at, std::vector<SpecFault>& faults) {
  const auto fault = [&](const char* field, const std::string& detail, const std::string& hint = "") {
    add_fault(faults, {at + "/text/" + field, "invalid", detail, hint});
  };
  if (text.width % text.heads != 0)
    fault("width", std::to_string(text.width) + " is no multiple of heads " + std::to_string(text.heads));
  const bool decoder = text.kind == TextTowerKind::kDecoder;
  if (decoder && text.tokenizer.kind == TokenizerKind::kHashedWords)
    fault("tokenizer/kind", "a captioner writes words, which hashed_words cannot give back",
          "use wordpiece, with the vocabulary of a vocabulary stage or pretrained:minilm");
  if (decoder && text.gradient_checkpointing)
    fault("gradient_checkpointing", "a decoder keeps its activations", "leave it out, or lower micro_batch");
  if (!decoder && (text.extra_tokens != 0 || !text.tied_head || !text.prompt.empty()))
    fault("kind", "extra_tokens, tied_head and prompt belong to a decoder",
          "set text.kind to decoder, or leave them out");
  if (text.kind != TextTowerKind::kTransformer &&
      (text.readout != TextReadout::kUnset || text.activation != ActivationKind::kByQuickGelu ||
       text.bidirectional || text.layer_scale || text.mlp_width || text.layer_norm_epsilon))
    fault("kind",
          "readout, activation, bidirectional, layer_scale, mlp_width and layer_norm_epsilon belong to a "
          "transformer",
          "leave them out");
  if (text.activation != ActivationKind::kByQuickGelu && text.quick_gelu)
    fault("activation", "contradicts quick_gelu", "keep one");
  if (text.tokenizer.strip_end && text.tokenizer.kind != TokenizerKind::kWordPiece)
    fault("tokenizer/strip_end", "belongs to wordpiece", "leave it out");
  if ((text.kind == TextTowerKind::kBert || decoder) && text.context > text.positions)
    fault("context",
          std::to_string(text.context) + " is above the tower's positions " + std::to_string(text.positions));
  const TokenizerSpec& tokenizer = text.tokenizer;
  if (tokenizer.kind != TokenizerKind::kHashedWords && tokenizer.vocabulary.empty())
    fault("tokenizer/vocabulary", std::string(name_of(tokenizer.kind)) + " needs a vocabulary file",
          tokenizer.kind == TokenizerKind::kWordPiece       ? "for example pretrained:minilm"
          : tokenizer.kind == TokenizerKind::kSentencePiece ? "spiece.model or tokenizer.model"
                                                            : "for example pretrained:clip");
  if (text.kind == TextTowerKind::kBert && !text.weights.empty() &&
      tokenizer.kind != TokenizerKind::kWordPiece)
    fault("tokenizer/kind", "the weights of a bert tower need wordpiece tokens");
}

}  // namespace

void check_model(const ModelSpec& model, const std::string& pointer, std::vector<SpecFault>& faults) {
  check_unread(model, pointer, faults);
  check_image(model.image, !model.image.weights.empty() || !model.init_from.empty(), pointer, faults);
  check_text(model.text, pointer, faults);
  check_frozen(model, pointer, faults);
  if (model.blend && model.init_from.empty())
    faults.push_back({pointer + "/blend", "invalid", "a blend lies between init_from and another checkpoint",
                      "set init_from to the one that share 0 means"});
  if (model.blend && (!model.image.weights.empty() || !model.text.weights.empty()))
    faults.push_back({pointer + "/blend", "invalid",
                      "a tower has weights of its own beside the two checkpoints",
                      "leave the towers' weights out"});
  if (model.logit_scale_init > model.logit_scale_max)
    add_fault(faults, {pointer + "/logit_scale_init", "invalid", "is above logit_scale_max", ""});
  if (model.logit_scale_init < model.logit_scale_min)
    add_fault(faults, {pointer + "/logit_scale_init", "invalid", "is below logit_scale_min", ""});
}

}  // namespace trireme::jobs
