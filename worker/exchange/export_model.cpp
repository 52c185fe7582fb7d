#include "worker/exchange/export_model.h"

#include <cmath>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "jobs/specification/model_defaults.h"
#include "worker/checkpoint/name_map.h"
#include "worker/exchange/export_captioner.h"
#include "worker/exchange/export_parts.h"
#include "worker/exchange/hf_tokenizer.h"
#include "worker/exchange/onnx/export_onnx.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/towers/efficientnet_shape.h"

namespace trireme::worker::exchange {
namespace {

using nlohmann::ordered_json;

bool is_clip(const jobs::ModelSpec& spec) {
  return spec.image.kind == jobs::ImageTowerKind::kVit &&
         spec.text.kind == jobs::TextTowerKind::kTransformer &&
         spec.image.projection == jobs::ProjectionKind::kMatrix &&
         spec.text.projection == jobs::ProjectionKind::kMatrix && !spec.image.patch_bias;
}

ordered_json hf_clip_config(const jobs::ModelSpec& spec, const text::Tokenizer& tokenizer) {
  const auto act = [](bool quick, jobs::ActivationKind named) {
    return named == jobs::ActivationKind::kGeluTanh ? "gelu_pytorch_tanh" : quick ? "quick_gelu" : "gelu";
  };
  const std::int64_t end = tokenizer.end_id();
  return {{"architectures", {"CLIPModel"}},
          {"model_type", "clip"},
          {"projection_dim", spec.embed_dim},
          {"logit_scale_init_value", spec.logit_scale_init},
          {"text_config",
           {{"vocab_size", tokenizer.vocabulary_size()},
            {"hidden_size", spec.text.width},
            {"intermediate_size", spec.text.mlp_width.value_or(4 * spec.text.width)},
            {"num_hidden_layers", spec.text.layers},
            {"num_attention_heads", spec.text.heads},
            {"max_position_embeddings", spec.text.context},
            {"hidden_act", act(spec.text.quick_gelu, spec.text.activation)},
            {"layer_norm_eps", spec.text.layer_norm_epsilon.value_or(1e-5)},
            {"bos_token_id", end - 1},
            {"eos_token_id", end},
            {"pad_token_id", tokenizer.pad_id()},
            {"projection_dim", spec.embed_dim}}},
          {"vision_config",
           {{"hidden_size", spec.image.width},
            {"intermediate_size", spec.image.mlp_width.value_or(4 * spec.image.width)},
            {"num_hidden_layers", spec.image.layers},
            {"num_attention_heads", spec.image.heads},
            {"image_size", spec.image.image_px},
            {"patch_size", spec.image.patch_px},
            {"hidden_act", act(spec.image.quick_gelu, spec.image.activation)},
            {"layer_norm_eps", spec.image.layer_norm_epsilon},
            {"projection_dim", spec.embed_dim}}},
          {"torch_dtype", "float32"},
          {"trireme_model", model_text(spec)}};
}

ordered_json hf_align_config(const jobs::ModelSpec& spec, const text::Tokenizer& tokenizer,
                             double temperature) {
  return {{"architectures", {"AlignModel"}},
          {"model_type", "align"},
          {"projection_dim", spec.embed_dim},
          {"temperature_init_value", temperature},
          {"text_config",
           {{"vocab_size", tokenizer.vocabulary_size()},
            {"hidden_size", spec.text.width},
            {"intermediate_size", 4 * spec.text.width},
            {"num_hidden_layers", spec.text.layers},
            {"num_attention_heads", spec.text.heads},
            {"max_position_embeddings", spec.text.positions},
            {"type_vocab_size", 2},
            {"hidden_act", "gelu"},
            {"layer_norm_eps", 1e-12},
            {"pad_token_id", tokenizer.pad_id()}}},
          {"vision_config",
           {{"image_size", spec.image.image_px},
            {"width_coefficient", models::efficientnet_factors(spec.image).width},
            {"depth_coefficient", models::efficientnet_factors(spec.image).depth},
            {"depth_divisor", 8},
            {"hidden_dim", models::efficientnet_shape(spec.image).width()},
            {"hidden_act", "swish"},
            {"batch_norm_eps", spec.image.batch_norm.epsilon},
            {"drop_connect_rate", spec.image.stochastic_depth}}},
          {"torch_dtype", "float32"},
          {"trireme_model", model_text(spec)}};
}

void export_hf_clip(models::DualEncoder& model, const io::Path& to, bool tokenizer) {
  const jobs::ModelSpec& spec = model.spec();
  need(spec.image.ln_pre, "image.ln_pre false", "transformers' CLIPModel");
  need_clip_blocks(spec, "transformers' CLIPModel");
  need(spec.text.tokenizer.kind == jobs::TokenizerKind::kClipBpe,
       said("text.tokenizer.kind", spec.text.tokenizer.kind),
       "transformers' CLIPModel, which reads the text at CLIP's end token");
  need(spec.image.resize_mode == jobs::ResizeMode::kShortest, "image.resize_mode square",
       "transformers' CLIPImageProcessor");
  checkpoint::write_safetensors(
      to / "model.safetensors",
      mapped_tensors(model, checkpoint::NameMap(checkpoint::Layout::kHfClip), "transformers' CLIPModel"),
      {{"format", "pt"}});
  write_json_file(to / "config.json", hf_clip_config(spec, model.tokenizer()));
  write_json_file(to / "preprocessor_config.json", hf_preprocessor(spec.image, "CLIPImageProcessor"));
  if (tokenizer) write_clip_tokenizer(model, to);
}

void export_hf_align(models::DualEncoder& model, const io::Path& to, bool tokenizer) {
  const jobs::ModelSpec& spec = model.spec();
  const std::string target = "transformers' AlignModel";
  need(jobs::is_efficientnet(spec.image) && !jobs::is_efficientnet_lite(spec.image),
       said("image.kind", spec.image.kind), target);
  need(!*spec.image.head_conv, "image.head_conv", target);
  need(spec.image.projection == jobs::ProjectionKind::kNone, said("image.projection", spec.image.projection),
       target);
  need(spec.image.padding == jobs::PaddingKind::kAsymmetric, said("image.padding", spec.image.padding),
       target);
  need(spec.text.kind == jobs::TextTowerKind::kBert, said("text.kind", spec.text.kind), target);
  need(spec.text.pooling == jobs::TextPooling::kCls, said("text.pooling", spec.text.pooling), target);
  need(spec.text.projection == jobs::ProjectionKind::kLinear, said("text.projection", spec.text.projection),
       target);
  const auto shape = models::efficientnet_shape(spec.image);
  Tensors tensors =
      mapped_tensors(model, checkpoint::NameMap(checkpoint::Layout::kHfAlign, shape.repeats), target);
  // There, but never used for embeddings (METHODS 4.2).
  tensors.emplace_back("text_model.pooler.dense.weight", at::zeros({spec.text.width, spec.text.width}));
  tensors.emplace_back("text_model.pooler.dense.bias", at::zeros({spec.text.width}));
  checkpoint::write_safetensors(to / "model.safetensors", tensors, {{"format", "pt"}});
  write_json_file(to / "config.json",
                  hf_align_config(spec, model.tokenizer(), std::exp(-model.logit_scale().item<double>())));
  write_json_file(to / "preprocessor_config.json", hf_preprocessor(spec.image, "EfficientNetImageProcessor"));
  if (tokenizer) write_wordpiece_tokenizer(model, to, true);
}

void add_block_options(ordered_json& config, std::int64_t width, std::optional<std::int64_t> mlp_width,
                       jobs::ActivationKind activation, double epsilon, bool layer_scale) {
  if (mlp_width) config["mlp_ratio"] = (static_cast<double>(*mlp_width) + 0.5) / static_cast<double>(width);
  if (activation == jobs::ActivationKind::kGeluTanh) config["act_kwargs"] = {{"approximate", "tanh"}};
  if (std::abs(epsilon - 1e-5) > 1e-12) config["norm_kwargs"] = {{"eps", epsilon}};
  if (layer_scale) config["ls_init_value"] = 1e-5;
}

ordered_json open_clip_vision(const jobs::ImageTowerSpec& image) {
  ordered_json vision{{"image_size", image.image_px},
                      {"layers", image.layers},
                      {"width", image.width},
                      {"head_width", image.width / image.heads},
                      {"patch_size", image.patch_px}};
  if (!image.ln_pre) vision["no_ln_pre"] = true;
  if (image.pooling == jobs::ImagePooling::kMean) vision["pool_type"] = "avg";
  if (image.norm_after_pooling) vision["final_ln_after_pool"] = true;
  if (image.attention_norm) vision["scale_attn_inner"] = true;
  if (image.mlp_norm) vision["scale_fc"] = true;
  add_block_options(vision, image.width, image.mlp_width, image.activation, image.layer_norm_epsilon,
                    image.layer_scale);
  return vision;
}

ordered_json open_clip_text(const jobs::TextTowerSpec& tower, const text::Tokenizer& tokens) {
  const bool end = tower.readout == jobs::TextReadout::kUnset || tower.readout == jobs::TextReadout::kEnd;
  ordered_json text{{"context_length", tower.context},
                    {"vocab_size", tokens.vocabulary_size()},
                    {"width", tower.width},
                    {"heads", tower.heads},
                    {"layers", tower.layers},
                    {"pool_type", end                                            ? "eos"
                                  : tower.readout == jobs::TextReadout::kLargest ? "argmax"
                                                                                 : name_of(tower.readout)}};
  if (end) text["eos_id"] = tower.end_token.value_or(tokens.end_id());
  if (tower.bidirectional) text["no_causal_mask"] = true;
  const jobs::CaptionCleaning cleaning = tower.tokenizer.cleaning;
  if (cleaning == jobs::CaptionCleaning::kWhitespace || cleaning == jobs::CaptionCleaning::kCanonicalize)
    text["tokenizer_kwargs"] = {{"clean", name_of(cleaning)}};
  add_block_options(text, tower.width, tower.mlp_width, tower.activation,
                    tower.layer_norm_epsilon.value_or(1e-5), tower.layer_scale);
  return text;
}

}  // namespace

void export_hf(const std::string& model_folder, const std::string& folder, bool tokenizer) {
  const auto model = open_for_export(model_folder);
  io::make_folders(folder);
  if (model->decoder() != nullptr)
    export_hf_captioner(*model, folder, tokenizer);
  else if (is_clip(model->spec()))
    export_hf_clip(*model, folder, tokenizer);
  else
    export_hf_align(*model, folder, tokenizer);
}

void export_open_clip(const std::string& model_folder, const std::string& folder, bool tokenizer) {
  const auto model = open_for_export(model_folder);
  const jobs::ModelSpec& spec = model->spec();
  const std::string target = "open_clip";
  need(is_clip(spec), "a model that is no vit with a transformer", target);
  need(!tokenizer || spec.text.tokenizer.kind == jobs::TokenizerKind::kClipBpe,
       said("text.tokenizer.kind", spec.text.tokenizer.kind), target, "--without-tokenizer writes the rest");
  need(spec.image.quick_gelu == spec.text.quick_gelu, "quick_gelu of one tower alone", target);
  need(*spec.image.resize_px == spec.image.image_px, "image.resize_px other than image_px", target);
  need(spec.image.width % spec.image.heads == 0, "image.heads", target);
  need_plain_blocks(spec, target);
  const io::Path to(folder);
  io::make_folders(to);
  checkpoint::write_safetensors(
      to / "open_clip_model.safetensors",
      mapped_tensors(*model, checkpoint::NameMap(checkpoint::Layout::kTrireme), target), {{"format", "pt"}});
  ordered_json preprocess{
      {"mean", spec.image.mean},
      {"std", spec.image.std},
      {"interpolation", name_of(spec.image.interpolation)},
      {"resize_mode",
       spec.image.resize_mode == jobs::ResizeMode::kSquare ? "squash" : name_of(spec.image.resize_mode)}};
  if (spec.image.resize_mode == jobs::ResizeMode::kLongest)
    preprocess["fill_color"] = spec.image.fill_level.value_or(0);
  write_json_file(to / "open_clip_config.json",
                  {{"model_cfg",
                    {{"embed_dim", spec.embed_dim},
                     {"quick_gelu", spec.image.quick_gelu},
                     {"vision_cfg", open_clip_vision(spec.image)},
                     {"text_cfg", open_clip_text(spec.text, model->tokenizer())}}},
                   {"preprocess_cfg", preprocess},
                   {"trireme_model", model_text(spec)}});
}

int run_export(int argc, char** argv) {
  const char* const usage = "trireme export --to open_clip|hf|onnx MODEL FOLDER [--without-tokenizer]";
  std::vector<std::string> operands;
  std::string to;
  bool tokenizer = true;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help" || word == "-h") {
      std::cout << usage << "\n";
      return 0;
    }
    if (word == "--to" && i + 1 < argc)
      to = argv[++i];
    else if (word == "--without-tokenizer")
      tokenizer = false;
    else if (word.starts_with("--"))
      throw Error(ErrorKind::kUsage, "export: unknown or incomplete option " + word, usage);
    else
      operands.push_back(word);
  }
  if (operands.size() != 2 || (to != "open_clip" && to != "hf" && to != "onnx"))
    throw Error(ErrorKind::kUsage, "export needs a model folder, a folder to write, and --to", usage);
  // Perhaps another model's, or the original that was trained from: a person decides what becomes of it.
  if (io::exists(operands[1]) && !(io::is_folder(operands[1]) && io::list_folder(operands[1]).empty()))
    throw Error(ErrorKind::kConflict, operands[1] + " is there already and not empty", "name a new folder");
  if (to == "onnx")
    export_onnx(operands[0], operands[1], tokenizer);
  else
    (to == "hf" ? export_hf : export_open_clip)(operands[0], operands[1], tokenizer);
  std::cout << operands[1] << ": written for "
            << (to == "hf"     ? "transformers"
                : to == "onnx" ? "programs that run ONNX"
                               : "open_clip")
            << "\n";
  return 0;
}

}  // namespace trireme::worker::exchange
