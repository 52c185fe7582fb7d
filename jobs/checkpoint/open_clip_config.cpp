// open_clip_config.json: model_cfg and preprocess_cfg.
#include <algorithm>
#include <cmath>

#include "jobs/checkpoint/config_object.h"

namespace trireme::jobs {
namespace {

// act_kwargs and norm_kwargs, and what open_clip's custom blocks would add.
void block_facts(ConfigObject& config, bool quick) {
  const std::string tower = config.tower() + "/";
  ConfigObject act = config.object("act_kwargs", config.tower());
  const std::string approximate = act.text("approximate").value_or("none");
  if (approximate != "none" && (approximate != "tanh" || quick)) act.refuse("approximate");
  act.finish();
  config.fact(tower + "activation", Json(approximate == "tanh" ? "gelu_tanh" : ""), "act_kwargs");
  ConfigObject norm = config.object("norm_kwargs", config.tower());
  config.fact(tower + "layer_norm_epsilon", Json(norm.real("eps").value_or(1e-5)), "norm_kwargs.eps");
  norm.only("elementwise_affine", Json(true));
  norm.only("bias", Json(true));
  norm.finish();
  config.fact(tower + "layer_scale", Json(config.has("ls_init_value")), "ls_init_value");
  config.only("block_type", Json("default"));
  for (const char* name : {"qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn"}) config.only(name);
  if (config.tower() == "image") {
    config.fact("image/attention_norm", Json(config.flag("scale_attn_inner").value_or(false)),
                "scale_attn_inner");
    config.fact("image/mlp_norm", Json(config.flag("scale_fc").value_or(false)), "scale_fc");
  }
  for (const char* name : {"scale_attn_inner", "scale_fc"})
    if (config.tower() == "text") config.only(name);
  config.harmless({"output_tokens", "layers", "width", "mlp_ratio"});  // shapes show them
}

// A side, or two: the positions of a long picture can be as many as those of a square one.
std::int64_t side_of(ConfigObject& vision, const std::string& name, std::int64_t otherwise) {
  const Json* value = vision.value(name);
  if (value == nullptr) return otherwise;
  const bool list = value->is(Json::Type::kArray) && !value->items.empty();
  const Json& first = list ? value->items.front() : *value;
  const bool whole = first.is(Json::Type::kInteger) && first.integer > 0;
  if (whole && (!list || (value->items.size() == 2 && dump_json(first) == dump_json(value->items[1]))))
    return first.integer;
  vision.refuse(name, whole && list ? "pictures and patches here are square" : "a side is wanted");
  return otherwise;
}

void timm_facts(ConfigObject& vision, const std::string& name) {
  read_timm_name(vision, "timm_model_name", name, vision.text("timm_pool").value_or("avg"));
  const std::string proj = vision.value("timm_proj") != nullptr ? vision.text("timm_proj").value() : "";
  if (proj == "mlp") vision.refuse("timm_proj");
  cut_patch_fact(vision, "image_size", side_of(vision, "image_size", 0), timm_patch(name));
  vision.harmless({"timm_model_pretrained", "timm_drop", "timm_drop_path", "timm_proj_bias", "image_size",
                   "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout",
                   "output_tokens"});
  vision.finish();
}

void vision_facts(ConfigObject vision, bool quick, std::int64_t embed_dim) {
  if (const auto name = vision.text("timm_model_name")) return timm_facts(vision, *name);
  if (const Json* layers = vision.value("layers"); layers != nullptr && layers->is(Json::Type::kArray))
    return vision.refuse("layers", "a ResNet, which no tower here computes");
  vision.fact("image/kind", Json("vit"), "layers");
  const std::int64_t width = vision.whole("width").value_or(768),
                     head = vision.whole("head_width").value_or(64);
  vision.fact("image/heads", Json(width / std::max<std::int64_t>(1, head)), "head_width");
  vision.fact("image/quick_gelu", Json(quick), "quick_gelu of the model");
  vision.fact("image/ln_pre", Json(!vision.flag("no_ln_pre").value_or(false)), "no_ln_pre");
  const Json* const attentional = vision.value("attentional_pool");
  const bool queries = attentional != nullptr && attentional->is(Json::Type::kBool) && attentional->boolean;
  if (attentional != nullptr && !attentional->is(Json::Type::kBool)) vision.refuse("attentional_pool");
  const std::string pool = vision.text("pool_type").value_or("tok");
  if (pool != "tok" && (pool != "avg" || queries)) vision.refuse("pool_type");
  vision.fact("image/pooling",
              Json(queries         ? "queries"
                   : pool == "avg" ? "mean"
                                   : "class"),
              queries ? "attentional_pool" : "pool_type");
  if (queries) {
    vision.fact("image/pooling_heads", Json(vision.whole("attn_pooler_heads").value_or(8)),
                "attn_pooler_heads");
    if (embed_dim > 0) vision.fact("image/pooling_width", Json(embed_dim), "attentional_pool");
  }
  const bool after = vision.flag("final_ln_after_pool").value_or(false);
  if (pool == "avg") vision.fact("image/norm_after_pooling", Json(after), "final_ln_after_pool");
  block_facts(vision, quick);
  cut_patch_fact(vision, "image_size", side_of(vision, "image_size", 0), side_of(vision, "patch_size", 16));
  vision.harmless({"patch_size", "image_size", "patch_dropout", "attn_pooler_queries", "attn_pooler_heads",
                   "pos_embed_type", "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias",
                   "timm_drop", "timm_drop_path"});
  vision.finish();
}

// Of tokenizer_kwargs and hf_tokenizer_name; which ids mean what comes with the vocabulary.
void tokenizer_facts(ConfigObject& text) {
  const auto named = text.text("hf_tokenizer_name");
  ConfigObject kwargs = text.object("tokenizer_kwargs", "text");
  const std::string cleaning = kwargs.text("clean").value_or(named ? "whitespace" : "lower");
  const bool known = cleaning == "lower" || cleaning == "whitespace" || cleaning == "canonicalize";
  if (!known) kwargs.refuse("clean");
  kwargs.only("reduction_mask", Json(""));
  const bool strip = kwargs.flag("strip_sep_token").value_or(false);
  kwargs.finish();
  text.only("tokenizer_mode", Json(""));
  std::string kind = "clip_bpe";
  if (named) {
    const bool bert = named->starts_with("bert-") || named->starts_with("google-bert/bert-");
    kind = bert ? "wordpiece" : "sentencepiece";
    if (bert)
      text.fact("text/tokenizer/lower_case", Json(named->find("uncased") != std::string::npos),
                "hf_tokenizer_name");
    const bool fairseq = named->find("xlm-") != std::string::npos,
               siglip =
                   named->find("SigLIP") != std::string::npos && named->find("SigLIP2") == std::string::npos;
    if (!bert)
      text.fact("text/tokenizer/marks",
                Json(fairseq  ? "xlm_roberta"
                     : siglip ? "siglip"
                              : "t5"),
                "hf_tokenizer_name");
    if (!bert && !fairseq && !siglip && named->find("mt5") == std::string::npos &&
        named->find("SigLIP2") == std::string::npos)
      text.refuse("hf_tokenizer_name", "a tokenizer that is none of ours");
    text.fact("text/tokenizer/strip_end", Json(strip), "tokenizer_kwargs.strip_sep_token");
  }
  text.fact("text/tokenizer/kind", Json(kind),
            named ? "hf_tokenizer_name" : "tokenizer (CLIP's, none is named)");
  if (known) text.fact("text/tokenizer/cleaning", Json(cleaning), "tokenizer_kwargs.clean");
}

void text_facts(ConfigObject text, bool quick, bool class_allowed) {
  if (text.has("hf_model_name"))
    return text.refuse("hf_model_name", "a text tower that is not computed here");
  text.fact("text/kind", Json("transformer"), "width");
  text.fact("text/heads", Json(text.whole("heads").value_or(8)), "heads");
  text.fact("text/quick_gelu", Json(quick), "quick_gelu of the model");
  const bool bidirectional = text.flag("no_causal_mask").value_or(false);
  text.fact("text/bidirectional", Json(bidirectional), "no_causal_mask");
  const bool embed = text.flag("embed_cls").value_or(false);
  const std::string pool = text.text("pool_type").value_or("argmax");
  std::string readout = pool == "argmax" ? "largest" : pool == "eos" ? "end" : pool;
  // open_clip's CLIP class takes the parts of the text tower but not its class token.
  if (embed && !class_allowed) text.refuse("embed_cls", "without custom_text");
  if (embed) {
    readout = "class";
    text.only("pad_id", Json(0));
  } else if (pool != "argmax" && pool != "eos" && pool != "first" && pool != "last") {
    return text.refuse("pool_type");
  }
  text.fact("text/readout", Json(readout), embed ? "embed_cls" : "pool_type");
  if (readout == "end") text.fact("text/end_token", Json(text.whole("eos_id").value_or(2)), "eos_id");
  if (embed || bidirectional || readout == "last")
    text.fact("text/context", Json(text.whole("context_length").value_or(77)), "context_length");
  // final_ln_after_pool, proj_bias and proj_type: the norm acts on each position alone, tensors show the
  // others.
  block_facts(text, quick);
  tokenizer_facts(text);
  text.harmless({"context_length", "vocab_size", "eos_id", "pad_id", "final_ln_after_pool", "proj_bias",
                 "proj_type", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"});
  text.finish();
}

}  // namespace

void read_open_clip_preprocess(ConfigObject config) {
  config.only("mode", Json("RGB"));
  if (const auto mean = channels_of(config, "mean")) config.fact("image/mean", *mean, "mean");
  if (const auto std = channels_of(config, "std")) config.fact("image/std", *std, "std");
  std::string interpolation = config.text("interpolation").value_or("bicubic");
  if (interpolation == "random") interpolation = "bicubic";  // of training; evaluation is bicubic
  if (interpolation != "bicubic" && interpolation != "bilinear")
    config.refuse("interpolation");
  else
    config.fact("image/interpolation", Json(interpolation), "interpolation");
  config.fact("image/resampling", Json("pillow"), "interpolation");
  const std::string mode = config.text("resize_mode").value_or("shortest");
  if (mode != "shortest" && mode != "longest" && mode != "squash")
    config.refuse("resize_mode");
  else
    config.fact("image/resize_mode", Json(mode == "squash" ? "square" : mode), "resize_mode");
  if (mode == "shortest") config.fact("image/crop_rounding", Json("half_to_even"), "resize_mode");
  if (mode == "longest")
    config.fact("image/fill_level", Json(config.whole("fill_color").value_or(0)), "fill_color");
  config.harmless({"fill_color"});
  if (const Json* size = config.value("size")) {
    const bool pair = size->is(Json::Type::kArray) && size->items.size() == 2;
    const Json& first = pair ? size->items[0] : *size;
    if (pair && dump_json(size->items[0]) != dump_json(size->items[1]))
      config.refuse("size", "pictures here are square");
    else if (first.is(Json::Type::kInteger))
      config.fact("image/resize_px", first, "size", first.integer);
    else
      config.refuse("size", "a side is wanted");
  }
  config.finish();
}

void read_open_clip_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  ConfigObject whole(root, file, "", "", out);
  whole.harmless({"version", "_name", "tags", "license"});
  ConfigObject model = whole.object("model_cfg", "");
  const bool quick = model.flag("quick_gelu").value_or(false);
  const bool custom = model.flag("custom_text").value_or(false) || model.has("multimodal_cfg");
  const std::int64_t embed_dim = model.whole("embed_dim").value_or(0);
  for (const char* name : {"vision_cfg", "text_cfg"})
    if (!model.has(name)) model.refuse(name, "where a model is described");
  ConfigObject vision = model.object("vision_cfg", "image"), text = model.object("text_cfg", "text");
  out.context = text.whole("context_length").value_or(77);
  if (const Json* px = vision.value("image_size"); px != nullptr && px->is(Json::Type::kInteger))
    out.image_px = px->integer;
  vision_facts(std::move(vision), quick, embed_dim);
  text_facts(std::move(text), quick, custom);
  model.only("nonscalar_logit_scale");
  model.harmless(
      {"embed_dim", "init_logit_scale", "init_logit_bias", "multimodal_cfg", "output_dict", "cast_dtype"});
  model.finish();
  if (const Json* ours = whole.value("trireme_model")) out.exported = *ours;
  // Left out, it is PreprocessCfg's defaults.
  read_open_clip_preprocess(whole.object("preprocess_cfg", "image"));
  whole.finish();
}

}  // namespace trireme::jobs
