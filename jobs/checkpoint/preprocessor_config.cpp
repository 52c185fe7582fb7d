// transformers' preprocessor_config.json and tokenizer_config.json.
#include <array>

#include "jobs/checkpoint/config_object.h"

namespace trireme::jobs {
namespace {

// {"height": h, "width": w}, {"shortest_edge": s} or a number.
struct Sides {
  std::int64_t px = 0;
  bool shortest = false;
};
std::optional<Sides> sides_of(ConfigObject& config, const std::string& name, bool number_is_shortest) {
  const Json* said = config.value(name);
  if (said == nullptr) return std::nullopt;
  if (said->is(Json::Type::kInteger)) return Sides{said->integer, number_is_shortest};
  ConfigObject sides = config.object(name, "image");
  if (const auto edge = sides.whole("shortest_edge")) {
    sides.finish();
    return Sides{*edge, true};
  }
  const auto height = sides.whole("height"), width = sides.whole("width");
  sides.finish();
  if (!height || height != width) {
    config.refuse(name, "pictures here are square");
    return std::nullopt;
  }
  return Sides{*height, false};
}

// What transformers' classes take where the file is silent; nullptr: of a class that is none of these.
struct Silent {
  const char* head;
  std::int64_t resample;
  bool openai;  // mean and deviation of CLIP's pictures, else 0.5
};
constexpr std::array<Silent, 4> kSilent{
    {{"CLIP", 3, true}, {"Siglip", 3, false}, {"ViT", 2, false}, {"Blip", 3, true}}};

const Silent* silent_of(const std::string& type) {
  for (const Silent& one : kSilent)
    if (type == one.head + std::string("ImageProcessor") ||
        type == one.head + std::string("ImageProcessorFast") ||
        type == one.head + std::string("ImageProcessorPil") ||
        type == one.head + std::string("FeatureExtractor"))
      return &one;
  return nullptr;
}

Json channels(double red, double green, double blue) {
  Json out = Json::array();
  for (const double one : {red, green, blue}) out.push(Json(one));
  return out;
}

void normalization_facts(ConfigObject& config, const Silent* silent) {
  const bool openai = silent != nullptr && silent->openai;
  const auto fact = [&](const char* field, const char* name, Json otherwise) {
    if (const auto said = channels_of(config, name))
      config.fact(field, *said, name);
    else if (silent != nullptr)
      config.fact(field, std::move(otherwise), name);
    else if (!config.has(name))
      config.refuse(name, "without which the normalization is not known");
  };
  fact("image/mean", "image_mean",
       openai ? channels(0.48145466, 0.4578275, 0.40821073) : channels(0.5, 0.5, 0.5));
  fact("image/std", "image_std",
       openai ? channels(0.26862954, 0.26130258, 0.27577711) : channels(0.5, 0.5, 0.5));
}

bool is_number(ConfigObject& config, const std::string& name) {
  const Json* said = config.value(name);
  return said != nullptr && said->is(Json::Type::kInteger);
}

void resize_facts(ConfigObject& config, bool clip, const Silent* silent) {
  const auto size = sides_of(config, "size", clip);
  const bool crops = config.flag("do_center_crop").value_or(clip);
  const auto crop = crops ? sides_of(config, "crop_size", false) : std::nullopt;
  config.harmless({"crop_size"});
  // Said of a size that is one number, the versions of transformers do not agree who wins.
  if (const auto square = config.flag("default_to_square");
      square && *square == clip && is_number(config, "size"))
    config.refuse("default_to_square", "where the size is one number");
  if (!size) return config.refuse("size", "without which the resize is not known");
  if (size->shortest && !crops) return config.refuse("do_center_crop", "pictures here are square");
  config.fact("image/resize_mode", Json(size->shortest ? "shortest" : "square"), "size");
  if (crops) config.fact("image/crop_rounding", Json("down"), "do_center_crop");
  config.fact("image/resize_px", Json(size->px), "size", crop ? crop->px : size->px);
  const auto filter = config.whole("resample");
  if (!filter && silent == nullptr) return config.refuse("resample", "without which the filter is not known");
  const std::int64_t used = filter ? *filter : silent->resample;
  if (used != 2 && used != 3) return config.refuse("resample");
  config.fact("image/interpolation", Json(used == 2 ? "bilinear" : "bicubic"), "resample");
}

// What tokenizers' configurations carry and ours read from their own files, or not at all.
constexpr std::initializer_list<const char*> kUsualOfTokenizers = {"tokenizer_class",
                                                                   "added_tokens_decoder",
                                                                   "additional_special_tokens",
                                                                   "bos_token",
                                                                   "cls_token",
                                                                   "clean_up_tokenization_spaces",
                                                                   "eos_token",
                                                                   "errors",
                                                                   "mask_token",
                                                                   "model_max_length",
                                                                   "name_or_path",
                                                                   "never_split",
                                                                   "pad_token",
                                                                   "processor_class",
                                                                   "sep_token",
                                                                   "special_tokens_map_file",
                                                                   "unk_token",
                                                                   "max_length",
                                                                   "stride",
                                                                   "truncation_strategy",
                                                                   "backend",
                                                                   "is_local",
                                                                   "from_slow",
                                                                   "extra_special_tokens",
                                                                   "extra_ids",
                                                                   "sp_model_kwargs",
                                                                   "do_lower_case",
                                                                   "pad_to_multiple_of",
                                                                   "pad_token_type_id",
                                                                   "auto_map",
                                                                   "model_input_names",
                                                                   "model_specific_special_tokens",
                                                                   "legacy",
                                                                   "use_fast",
                                                                   "tokenize_chinese_chars",
                                                                   "strip_accents",
                                                                   "local_files_only",
                                                                   "full_tokenizer_file",
                                                                   "add_bos_token",
                                                                   "add_eos_token",
                                                                   "init_kwargs",
                                                                   "tokenizer_file",
                                                                   "vocab_file",
                                                                   "merges_file"};

// A token as a string, or as the object of an AddedToken.
std::optional<std::string> token_of(ConfigObject& config, const std::string& name) {
  const Json* said = config.value(name);
  if (said != nullptr && said->is(Json::Type::kObject)) said = said->find("content");
  if (said == nullptr) return std::nullopt;
  return said->text;
}

void take_tokenizer_kind(ConfigObject& config) {
  std::string type = config.text("tokenizer_class").value_or("");
  if (type.ends_with("Fast")) type.resize(type.size() - 4);
  if (type == "CLIPTokenizer") {
    config.fact("text/tokenizer/kind", Json("clip_bpe"), "tokenizer_class");
    config.fact("text/tokenizer/cleaning", Json("plain"), "tokenizer_class");
    config.harmless({"do_lower_case"});
    // A mark that is a word's piece ("!") is cut out of captions before their pieces are made.
    for (const char* name : {"pad_token", "unk_token", "eos_token", "bos_token"}) {
      const std::string usual = name[0] == 'b' ? "<|startoftext|>" : "<|endoftext|>";
      if (token_of(config, name).value_or(usual) != usual)
        config.refuse(name, "and a caption that holds it would have other tokens there");
    }
  } else if (type == "BertTokenizer" || type == "MiniLMTokenizer") {
    const bool lower = config.flag("do_lower_case").value_or(true);
    config.fact("text/tokenizer/kind", Json("wordpiece"), "tokenizer_class");
    config.fact("text/tokenizer/lower_case", Json(lower), "do_lower_case");
    config.fact("text/tokenizer/strip_accents", Json(config.flag("strip_accents").value_or(lower)),
                "strip_accents");
    config.fact("text/tokenizer/split_ideographs", Json(config.flag("tokenize_chinese_chars").value_or(true)),
                "tokenize_chinese_chars");
  } else if (type == "T5Tokenizer" || type == "SiglipTokenizer") {
    // Padding is read by towers without a mask, so that its id is part of the numbers.
    const std::string pad = token_of(config, "pad_token").value_or(type == "T5Tokenizer" ? "<pad>" : "</s>");
    if (pad != "<pad>" && pad != "</s>") config.refuse("pad_token");
    config.fact("text/tokenizer/marks", Json(pad == "</s>" ? "siglip" : "t5"), "pad_token");
    if (token_of(config, "eos_token").value_or("</s>") != "</s>") config.refuse("eos_token");
    config.fact("text/tokenizer/kind", Json("sentencepiece"), "tokenizer_class");
    if (type == "SiglipTokenizer" && !config.flag("do_lower_case").value_or(true))
      config.refuse("do_lower_case");
    if (type == "SiglipTokenizer")
      config.fact("text/tokenizer/cleaning", Json("unpunctuated"), "tokenizer_class");
  } else {
    config.refuse("tokenizer_class", "a tokenizer that is none of ours");
  }
}

}  // namespace

void read_preprocessor_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  ConfigObject config(root, file, "", "image", out);
  const std::string type =
      config.text("image_processor_type")
          .value_or(config.text("feature_extractor_type").value_or("CLIPImageProcessor"));
  const Silent* const silent = silent_of(type);
  if (type.ends_with("Pil")) config.fact("image/resampling", Json("pillow"), "image_processor_type");
  resize_facts(config, type.starts_with("CLIP"), silent);
  config.only("do_resize", Json(true));
  config.only("do_rescale", Json(true));
  config.only("do_normalize", Json(true));
  for (const char* must : {"do_resize", "do_rescale", "do_normalize"})
    if (!config.flag(must).value_or(true)) config.refuse(must);
  if (const auto factor = config.real("rescale_factor");
      factor && (*factor < 0.0039215 || *factor > 0.0039216))
    config.refuse("rescale_factor");
  config.only("rescale_offset");
  config.only("include_top");
  if (type.starts_with("EfficientNet") && !config.has("include_top"))
    config.refuse("include_top", "without which pictures are divided by the deviation twice");
  normalization_facts(config, silent);
  config.only("do_pad");
  config.harmless({"image_processor_type", "feature_extractor_type", "do_convert_rgb", "processor_class",
                   "data_format", "device", "disable_grouping", "input_data_format", "return_tensors",
                   "pad_size", "auto_map", "image_seq_length", "_valid_processor_keys", "size_divisor",
                   "transformers_version", "backend"});
  config.finish();
}

// transformers 5 writes the image processor into this file, and prefers it to preprocessor_config.json.
void read_processor_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  if (const Json* image = root.find("image_processor"); image != nullptr && image->is(Json::Type::kObject))
    read_preprocessor_config(*image, file + ": image_processor", out);
}

void read_tokenizer_config(const Json& root, const std::string& file, CheckpointConfig& out) {
  ConfigObject config(root, file, "", "text", out);
  take_tokenizer_kind(config);
  config.only("truncation_side", Json("right"));
  config.only("padding_side", Json("right"));
  config.only("add_prefix_space");
  if (!config.flag("do_basic_tokenize").value_or(true)) config.refuse("do_basic_tokenize");
  config.harmless(kUsualOfTokenizers);
  config.finish();
}

}  // namespace trireme::jobs
