// transformers' config.json: what is absent there has the default of the model's class.
#include "jobs/checkpoint/config_object.h"

namespace trireme::jobs {
namespace {

struct Defaults {
  const char *act, *act_image;
  double epsilon, epsilon_image;
  std::int64_t text_heads, image_heads;
};
constexpr Defaults kClip{"quick_gelu", "quick_gelu", 1e-5, 1e-5, 8, 12},
    kSiglip{"gelu_pytorch_tanh", "gelu_pytorch_tanh", 1e-6, 1e-6, 12, 12},
    kBert{"gelu", "swish", 1e-12, 1e-3, 12, 12}, kBlip{"gelu", "gelu", 1e-12, 1e-5, 8, 12};

// What every configuration carries and no forward pass of ours reads: generation, training, labels, how the
// file was written.
constexpr std::initializer_list<const char*> kUsual = {"_attn_implementation_autoset",
                                                       "_commit_hash",
                                                       "_name_or_path",
                                                       "add_cross_attention",
                                                       "architectures",
                                                       "attention_dropout",
                                                       "attention_probs_dropout_prob",
                                                       "attn_implementation",
                                                       "auto_map",
                                                       "bad_words_ids",
                                                       "begin_suppress_tokens",
                                                       "bos_token_id",
                                                       "chunk_size_feed_forward",
                                                       "classifier_dropout",
                                                       "cross_attention_hidden_size",
                                                       "decoder_start_token_id",
                                                       "diversity_penalty",
                                                       "do_sample",
                                                       "dropout",
                                                       "dtype",
                                                       "early_stopping",
                                                       "encoder_no_repeat_ngram_size",
                                                       "exponential_decay_length_penalty",
                                                       "finetuning_task",
                                                       "forced_bos_token_id",
                                                       "forced_eos_token_id",
                                                       "gradient_checkpointing",
                                                       "hidden_dropout_prob",
                                                       "hidden_size",
                                                       "id2label",
                                                       "initializer_factor",
                                                       "initializer_range",
                                                       "intermediate_size",
                                                       "is_decoder",
                                                       "is_encoder_decoder",
                                                       "label2id",
                                                       "length_penalty",
                                                       "logit_scale_init_value",
                                                       "max_length",
                                                       "max_position_embeddings",
                                                       "min_length",
                                                       "model_type",
                                                       "no_repeat_ngram_size",
                                                       "num_beam_groups",
                                                       "num_beams",
                                                       "num_hidden_layers",
                                                       "num_return_sequences",
                                                       "output_attentions",
                                                       "output_hidden_states",
                                                       "output_scores",
                                                       "prefix",
                                                       "problem_type",
                                                       "projection_dim",
                                                       "pruned_heads",
                                                       "remove_invalid_values",
                                                       "repetition_penalty",
                                                       "return_dict",
                                                       "return_dict_in_generate",
                                                       "sep_token_id",
                                                       "suppress_tokens",
                                                       "task_specific_params",
                                                       "temperature",
                                                       "tf_legacy_loss",
                                                       "tie_encoder_decoder",
                                                       "tie_word_embeddings",
                                                       "tokenizer_class",
                                                       "top_k",
                                                       "top_p",
                                                       "torch_dtype",
                                                       "torchscript",
                                                       "transformers_version",
                                                       "type_vocab_size",
                                                       "typical_p",
                                                       "use_bfloat16",
                                                       "use_cache",
                                                       "vocab_size",
                                                       "pad_token_id",
                                                       "eos_token_id",
                                                       "label_smoothing",
                                                       "encoder_hidden_size",
                                                       "image_text_hidden_size",
                                                       "unk_token_id"};

void heads_and_epsilon(ConfigObject& config, std::int64_t heads, double epsilon, bool fixed) {
  config.fact(config.tower() + "/heads", Json(config.whole("num_attention_heads").value_or(heads)),
              "num_attention_heads");
  const double said = config.real("layer_norm_eps").value_or(epsilon);
  if (!fixed)
    config.fact(config.tower() + "/layer_norm_epsilon", Json(said), "layer_norm_eps");
  else if (said != epsilon)
    config.refuse("layer_norm_eps");
}

void clip_text(ConfigObject text, const Defaults& usual, bool siglip) {
  text.fact("text/kind", Json("transformer"), "model_type");
  heads_and_epsilon(text, usual.text_heads, usual.epsilon, false);
  activation_facts(text, "hidden_act", usual.act);
  text.fact("text/bidirectional", Json(siglip), "model_type");
  if (siglip) {
    text.fact("text/readout", Json("last"), "model_type");
    text.fact("text/context", Json(text.whole("max_position_embeddings").value_or(64)),
              "max_position_embeddings");
    text.harmless({"projection_size"});
  } else {
    // Its way with older configurations: 2 stands for the largest id.
    const std::int64_t end = text.whole("eos_token_id").value_or(49407);
    text.fact("text/readout", Json(end == 2 ? "largest" : "end"), "eos_token_id");
    if (end != 2) text.fact("text/end_token", Json(end), "eos_token_id");
  }
  text.harmless(kUsual);
  text.finish();
}

void clip_image(ConfigObject image, const Defaults& usual, bool siglip) {
  image.fact("image/kind", Json("vit"), "model_type");
  heads_and_epsilon(image, usual.image_heads, usual.epsilon_image, false);
  activation_facts(image, "hidden_act", usual.act_image);
  if (siglip && !image.flag("vision_use_head").value_or(true)) image.refuse("vision_use_head");
  image.fact("image/pooling", Json(siglip ? "attention" : "class"), "model_type");
  image.fact("image/no_class_token", Json(siglip), "model_type");
  image.only("num_channels", Json(3));
  cut_patch_fact(image, "image_size", image.whole("image_size").value_or(0),
                 image.whole("patch_size").value_or(0));
  image.harmless(kUsual);
  image.finish();
}

// A causal BERT is another computation with the same tensors.
void bert_text(ConfigObject text, const char* kind, const Defaults& usual) {
  text.fact("text/kind", Json(kind), "model_type");
  if (std::string(kind) == "bert") text.only("is_decoder");
  heads_and_epsilon(text, usual.text_heads, usual.epsilon, true);
  text.only("hidden_act", Json("gelu"));
  text.only("position_embedding_type", Json("absolute"));
  text.harmless(kUsual);
  text.finish();
}

void align_image(ConfigObject image) {
  image.only("hidden_act", Json("swish"));
  image.only("pooling_type", Json("mean"));
  image.only("depth_divisor", Json(8));
  image.only("num_channels", Json(3));
  const auto list = [](std::initializer_list<int> values) {
    Json out = Json::array();
    for (const int value : values) out.push(Json(value));
    return out;
  };
  image.only("kernel_sizes", list({3, 3, 5, 3, 5, 5, 3}));
  image.only("in_channels", list({32, 16, 24, 40, 80, 112, 192}));
  image.only("out_channels", list({16, 24, 40, 80, 112, 192, 320}));
  image.only("strides", list({1, 2, 2, 2, 1, 2, 1}));
  image.only("num_block_repeats", list({1, 2, 2, 3, 3, 4, 1}));
  image.only("expand_ratios", list({1, 6, 6, 6, 6, 6, 6}));
  image.only("squeeze_expansion_ratio", Json(0.25));
  image.fact("image/padding", Json("asymmetric"), "model_type");
  image.fact("image/batch_norm/epsilon", Json(image.real("batch_norm_eps").value_or(1e-3)), "batch_norm_eps");
  image.harmless({"image_size", "width_coefficient", "depth_coefficient", "hidden_dim", "batch_norm_momentum",
                  "drop_connect_rate", "dropout_rate", "depthwise_padding"});
  image.harmless(kUsual);
  image.finish();
}

// CLIPConfig's way with older files: what stands in text_config_dict wins over text_config, together with the
// class's defaults of all that it leaves out. Sizes need no care: tensors show them.
ConfigObject clip_part(ConfigObject& whole, const std::string& tower, const std::string& name) {
  const bool older = whole.has(name + "_dict");
  return whole.object(older ? name + "_dict" : name, tower);
}

}  // namespace

void read_transformers_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  ConfigObject whole(root, file, "", "", out);
  const std::string type = whole.text("model_type").value_or("");
  const bool siglip = type.starts_with("siglip_") || type == "siglip";
  const Defaults& clip = siglip ? kSiglip : kClip;
  if (type == "clip_text_model" || type == "siglip_text_model")
    return clip_text({root, file, "", "text", out}, clip, siglip);
  if (type == "clip_vision_model" || type == "siglip_vision_model")
    return clip_image({root, file, "", "image", out}, clip, siglip);
  if (type == "bert" || type == "align_text_model")
    return bert_text({root, file, "", "text", out}, "bert", kBert);
  if (type != "clip" && type != "siglip" && type != "align" && type != "blip")
    return whole.refuse("model_type", "a model that is none of ours");
  if (const Json* ours = whole.value("trireme_model")) out.exported = *ours;
  ConfigObject text = type == "clip" ? clip_part(whole, "text", "text_config")
                                     : whole.object("text_config", "text"),
               image = type == "clip" ? clip_part(whole, "image", "vision_config")
                                      : whole.object("vision_config", "image");
  if (type == "align") {
    bert_text(std::move(text), "bert", kBert);
    align_image(std::move(image));
    whole.fact("text/pooling", Json("cls"), "model_type");
  } else if (type == "blip") {
    bert_text(std::move(text), "decoder", kBlip);
    clip_image(std::move(image), kBlip, false);
  } else {
    clip_text(std::move(text), clip, siglip);
    clip_image(std::move(image), clip, siglip);
  }
  whole.harmless(
      {"text_config", "vision_config", "text_config_dict", "vision_config_dict", "temperature_init_value"});
  whole.harmless(kUsual);
  whole.finish();
}

void read_sentence_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  ConfigObject config(root, file, "", "text", out);
  if (config.flag("do_lower_case").value_or(false))
    config.fact("text/tokenizer/lower_case", Json(true), "do_lower_case");
  if (config.has("default_prompt_name"))
    config.refuse("default_prompt_name", "a prompt before every text, which nobody here writes");
}

// sentence-transformers': how the rows of a BERT become one.
void read_pooling_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  ConfigObject config(root, file, "", "text", out);
  const bool mean = config.flag("pooling_mode_mean_tokens").value_or(false),
             first = config.flag("pooling_mode_cls_token").value_or(false);
  if (mean == first)
    config.refuse(mean ? "pooling_mode_cls_token" : "pooling_mode_mean_tokens");
  else
    config.fact("text/pooling", Json(mean ? "mean" : "cls"),
                mean ? "pooling_mode_mean_tokens" : "pooling_mode_cls_token");
  for (const char* name : {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                           "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"})
    config.only(name);
  config.only("include_prompt", Json(true));
  config.harmless({"word_embedding_dimension"});
  config.finish();
}

}  // namespace trireme::jobs
