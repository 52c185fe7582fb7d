#include "worker/exchange/export_captioner.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "worker/exchange/export_parts.h"
#include "worker/exchange/hf_tokenizer.h"
#include "worker/models/captioner/captioner.h"

namespace trireme::worker::exchange {
namespace {

using nlohmann::ordered_json;

void need_blip(const jobs::ModelSpec& spec) {
  const std::string target = "transformers' BlipForConditionalGeneration";
  const std::string vit = "train a captioner whose image tower is a vit with ln_pre false";
  need(spec.image.kind == jobs::ImageTowerKind::kVit, said("image.kind", spec.image.kind), target, vit);
  need(!spec.image.ln_pre, "image.ln_pre", target, vit);
  need_clip_blocks(spec, target);
  need(!spec.image.mlp_width && spec.image.activation == jobs::ActivationKind::kByQuickGelu,
       "image.mlp_width or activation", target);
  need(spec.image.resize_mode != jobs::ResizeMode::kSquare || *spec.image.resize_px == spec.image.image_px,
       "a centre crop of a square resize", target, "resize to image_px");
}

ordered_json blip_config(const jobs::ModelSpec& spec, const models::Captioner& captioner) {
  return {{"architectures", {"BlipForConditionalGeneration"}},
          {"model_type", "blip"},
          {"image_text_hidden_size", 256},
          {"projection_dim", 512},
          {"tie_word_embeddings", spec.text.tied_head},
          {"text_config",
           {{"model_type", "blip_text_model"},
            {"vocab_size", captioner.decoder().vocabulary()},
            {"hidden_size", spec.text.width},
            {"encoder_hidden_size", spec.image.width},
            {"intermediate_size", 4 * spec.text.width},
            {"num_hidden_layers", spec.text.layers},
            {"num_attention_heads", spec.text.heads},
            {"max_position_embeddings", spec.text.positions},
            {"hidden_act", "gelu"},
            {"layer_norm_eps", 1e-12},
            {"hidden_dropout_prob", 0.0},
            {"attention_probs_dropout_prob", 0.0},
            {"is_decoder", true},
            {"tie_word_embeddings", spec.text.tied_head},
            {"bos_token_id", captioner.start("").front()},
            {"eos_token_id", captioner.end_id()},
            {"sep_token_id", captioner.end_id()},
            {"pad_token_id", captioner.pad_id()}}},
          {"vision_config",
           {{"model_type", "blip_vision_model"},
            {"hidden_size", spec.image.width},
            {"intermediate_size", 4 * spec.image.width},
            {"num_hidden_layers", spec.image.layers},
            {"num_attention_heads", spec.image.heads},
            {"image_size", spec.image.image_px},
            {"patch_size", spec.image.patch_px},
            {"hidden_act", spec.image.quick_gelu ? "quick_gelu" : "gelu"},
            {"layer_norm_eps", spec.image.layer_norm_epsilon}}},
          {"torch_dtype", "float32"},
          {"trireme_model", model_text(spec)}};
}

// What theirs has beside ours: a bias of the patches, and the output layer's shares of other tensors.
Tensors with_their_own(Tensors tensors, const jobs::ModelSpec& spec) {
  const std::string patch = "vision_model.embeddings.patch_embedding.",
                    head = "text_decoder.cls.predictions.";
  if (!spec.image.patch_bias) tensors.emplace_back(patch + "bias", at::zeros({spec.image.width}));
  for (const auto& [name, tensor] : Tensors(tensors)) {
    if (name == head + "bias") tensors.emplace_back(head + "decoder.bias", tensor.clone());
    if (spec.text.tied_head && name == "text_decoder.bert.embeddings.word_embeddings.weight")
      tensors.emplace_back(head + "decoder.weight", tensor.clone());
  }
  for (auto& [name, tensor] : tensors) {  // theirs lead with ones
    if (name == "vision_model.embeddings.class_embedding") tensor = tensor.reshape({1, 1, -1});
    if (name == "vision_model.embeddings.position_embedding" && tensor.dim() == 2)
      tensor = tensor.unsqueeze(0);
  }
  return tensors;
}

}  // namespace

void export_hf_captioner(models::DualEncoder& model, const io::Path& folder, bool tokenizer) {
  const jobs::ModelSpec& spec = model.spec();
  need_blip(spec);
  const models::Captioner captioner(model);
  const checkpoint::NameMap map(checkpoint::Layout::kHfBlip);
  checkpoint::write_safetensors(
      folder / "model.safetensors",
      with_their_own(mapped_tensors(model, map, "transformers' BlipForConditionalGeneration"), spec),
      {{"format", "pt"}});
  write_json_file(folder / "config.json", blip_config(spec, captioner));
  write_json_file(folder / "preprocessor_config.json",
                  hf_preprocessor(spec.image, spec.image.resize_mode == jobs::ResizeMode::kSquare
                                                  ? "BlipImageProcessor"
                                                  : "CLIPImageProcessor"));
  if (tokenizer) write_wordpiece_tokenizer(model, folder);
}

}  // namespace trireme::worker::exchange
