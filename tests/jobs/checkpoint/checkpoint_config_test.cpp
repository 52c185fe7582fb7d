#include "jobs/checkpoint/checkpoint_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/specification/model_defaults.h"

namespace trireme::jobs {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("trireme_config_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  CheckpointConfig with(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return read();
  }
  CheckpointConfig read() const { return read_checkpoint_config((path_ / "model.safetensors").string()); }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

std::string open_clip(const std::string& vision = "", const std::string& text = "",
                      const std::string& model = "", const std::string& preprocess = "") {
  return R"({"model_cfg": {"embed_dim": 32)" + model +
         R"(, "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8)" +
         vision +
         R"(}, "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2)" +
         text + "}}" + (preprocess.empty() ? "" : R"(, "preprocess_cfg": )" + preprocess) + "}";
}

// The model that such a job states: heads, and nothing of what else the config says.
ModelSpec stated() {
  ModelSpec model;
  model.image.image_px = 64;
  model.image.heads = model.text.heads = 2;
  model.text.tokenizer.kind = TokenizerKind::kClipBpe;
  return model;
}

ModelSpec adopted(const CheckpointConfig& config) {
  ModelSpec model = stated();
  adopt_config(model, config, true, true);
  return model;
}

std::string said(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& one : all) text += one + "\n";
  return text;
}

TEST(CheckpointConfig, WhatTheModelLeavesOpenIsTakenOver) {
  const Folder folder;
  const auto config = folder.with(
      "open_clip_config.json",
      open_clip(
          R"(, "pool_type": "avg", "final_ln_after_pool": true, "act_kwargs": {"approximate": "tanh"})",
          R"(, "no_causal_mask": true, "pool_type": "last", "norm_kwargs": {"eps": 1e-6})", "",
          R"({"mean": [0.5, 0.5, 0.5], "std": 0.5, "resize_mode": "squash", "interpolation": "bilinear", "size": 64})"));
  const ModelSpec model = adopted(config);
  EXPECT_EQ(name_of(model.image.pooling), "mean");
  EXPECT_TRUE(model.image.norm_after_pooling);
  EXPECT_EQ(name_of(model.image.activation), "gelu_tanh");
  EXPECT_TRUE(model.text.bidirectional);
  EXPECT_EQ(name_of(model.text.readout), "last");
  EXPECT_EQ(model.text.layer_norm_epsilon, 1e-6);
  EXPECT_EQ(model.image.mean, std::vector<double>(3, 0.5));
  EXPECT_EQ(model.image.std, std::vector<double>(3, 0.5));
  EXPECT_EQ(name_of(model.image.resize_mode), "square");
  EXPECT_EQ(name_of(model.image.interpolation), "bilinear");
  EXPECT_EQ(name_of(model.text.tokenizer.cleaning), "lower");
  EXPECT_EQ(said(contradictions(model, config, true, true)), "");
}

TEST(CheckpointConfig, WhatTheModelStatesOtherwiseIsNamedWithBothValues) {
  const Folder folder;
  const auto config = folder.with("open_clip_config.json", open_clip("", "", R"(, "quick_gelu": true)",
                                                                     R"({"mean": 0.5, "fill_color": 0})"));
  ModelSpec model = stated();
  model.image.mean = {0.1, 0.2, 0.3};
  model.image.heads = 4;
  adopt_config(model, config, true, true);
  const std::string faults = said(contradictions(model, config, true, true));
  for (const char* expected :
       {"preprocess_cfg.mean means image.mean = [0.5,0.5,0.5], the model has [0.1,0.2,0.3]",
        "head_width means image.heads = 2, the model has 4", "image.quick_gelu = true, the model has false"})
    EXPECT_NE(faults.find(expected), std::string::npos) << expected << "\n" << faults;
  EXPECT_EQ(said(contradictions(model, config, false, false)), "");
}

TEST(CheckpointConfig, FieldsThatNobodyComputesOrKnowsAreRefusedByName) {
  const Folder folder;
  for (const auto& [text, name] : std::vector<std::pair<std::string, std::string>>{
           {open_clip(R"(, "qk_norm": true)"), "model_cfg.vision_cfg.qk_norm is true"},
           {open_clip(R"(, "block_type": "custom")"), "block_type"},
           {open_clip("", R"(, "hf_model_name": "roberta-base")"),
            "text_cfg.hf_model_name is \"roberta-base\""},
           {open_clip(R"(, "timm_model_name": "convnext_base")"), "timm_model_name is \"convnext_base\""},
           {open_clip(R"(, "timm_model_name": "vit_base_mci_224", "timm_pool": "token")"),
            "vit_base_mci_224"},
           {open_clip(R"(, "invented": 3)"), "vision_cfg.invented is 3, a field that is not known here"},
           {open_clip("", "", R"(, "other": 1)"), "model_cfg.other"},
           {open_clip("", "", "", R"({"resize_mode": "tile"})"), "resize_mode is \"tile\""},
           {open_clip("", R"(, "tokenizer_kwargs": {"reduction_mask": "syntax"})"), "reduction_mask"}}) {
    const auto config = folder.with("open_clip_config.json", text);
    EXPECT_NE(said(contradictions(adopted(config), config, true, true)).find(name), std::string::npos)
        << name;
  }
}

// As timm's own functions of these names say (read with timm 1.0).
TEST(CheckpointConfig, NamesOfTimmTellWhichGeluItIs) {
  const Folder folder;
  for (const auto& [name, tanh] :
       std::vector<std::pair<std::string, bool>>{{"vit_base_patch16_siglip_256", false},
                                                 {"vit_base_patch32_siglip_256", true},
                                                 {"vit_large_patch16_siglip_384", false},
                                                 {"vit_large_patch16_siglip_512", true},
                                                 {"vit_so400m_patch14_siglip_384", false},
                                                 {"vit_so400m_patch16_siglip_256", true},
                                                 {"vit_so400m_patch16_siglip_512", true},
                                                 {"vit_giantopt_patch16_siglip_384", true}}) {
    const auto config =
        folder.with("open_clip_config.json",
                    open_clip(", \"timm_pool\": \"map\", \"timm_model_name\": \"" + name + "\""));
    const std::string faults = said(contradictions(stated(), config, true, true));
    EXPECT_EQ(faults.find("gelu_tanh") != std::string::npos, tanh) << name << "\n" << faults;
    EXPECT_EQ(faults.find("not computed"), std::string::npos) << faults;
  }
}

// A convolution leaves the pixels beside whole patches out: 384 px in patches of 14 are 27 patches, 378 px.
TEST(CheckpointConfig, APictureMayEndWithinAPatch) {
  const Folder folder;
  const auto config = folder.with(
      "open_clip_config.json",
      R"({"model_cfg": {"embed_dim": 32, "vision_cfg": {"image_size": 66, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
          "text_cfg": {"width": 64, "heads": 2, "layers": 2}}, "preprocess_cfg": {"size": 66}})");
  ModelSpec model = stated();
  model.image.patch_px = 8;
  adopt_config(model, config, true, true);
  EXPECT_NE(said(contradictions(model, config, true, true))
                .find("vision_cfg.image_size means image.image_px = 66, the model has 64"),
            std::string::npos);
  model.image.image_px = 66;
  adopt_config(model, config, true, true);
  EXPECT_EQ(said(contradictions(model, config, true, true)), "");
  model.image.image_px = 96;  // another resolution is the job's own choice: positions are interpolated
  EXPECT_EQ(said(contradictions(model, config, true, true)), "");
  for (const char* timm : {"vit_so400m_patch14_siglip_384", "vit_so400m_patch16_siglip_384"}) {
    const auto other = folder.with(
        "open_clip_config.json",
        open_clip(std::string(R"(, "timm_pool": "map", "timm_model_name": ")") + timm + "\"", "", ""));
    ModelSpec shown = stated();
    shown.image.image_px = 56;  // of the 64 in the config: 4 patches of 14
    const bool cut =
        said(contradictions(shown, other, true, true)).find("image_px = 64") != std::string::npos;
    EXPECT_EQ(cut, std::string(timm).find("patch14") != std::string::npos) << timm;
  }
}

TEST(CheckpointConfig, OfOneTowerOnlyThatTowerIsAsked) {
  const Folder folder;
  const auto config =
      folder.with("open_clip_config.json", open_clip("", R"(, "hf_model_name": "roberta-base")"));
  EXPECT_EQ(said(contradictions(adopted(config), config, true, false)), "");
}

TEST(CheckpointConfig, TransformersDefaultsHoldForWhatItsConfigLeavesOut) {
  const Folder folder;
  const auto config = folder.with(
      "config.json", R"({"model_type": "clip", "text_config": {"num_attention_heads": 2, "eos_token_id": 2},
                         "vision_config": {"num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-3}})");
  ModelSpec model = adopted(config);
  EXPECT_EQ(name_of(model.text.readout), "largest");  // their way with end token 2
  const std::string faults = said(contradictions(model, config, true, true));
  EXPECT_NE(faults.find("text.quick_gelu = true"), std::string::npos) << faults;
  EXPECT_NE(faults.find("image.layer_norm_epsilon = 0.001, the model has 1e-05"), std::string::npos)
      << faults;
  EXPECT_EQ(faults.find("image.quick_gelu"), std::string::npos) << faults;
}

TEST(CheckpointConfig, SiglipIsBidirectionalAndReadsTheLastPosition) {
  const Folder folder;
  folder.with(
      "preprocessor_config.json",
      R"({"image_processor_type": "SiglipImageProcessor", "size": {"height": 64, "width": 64}, "resample": 2,
                  "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098})");
  const auto config =
      folder.with("config.json", R"({"model_type": "siglip", "text_config": {}, "vision_config": {}})");
  const ModelSpec model = adopted(config);
  EXPECT_EQ(name_of(model.text.readout), "last");
  EXPECT_TRUE(model.text.bidirectional && model.image.no_class_token);
  EXPECT_EQ(name_of(model.image.pooling), "attention");
  EXPECT_EQ(name_of(model.text.activation), "gelu_tanh");
  EXPECT_EQ(name_of(model.image.resize_mode), "square");
  EXPECT_EQ(name_of(model.image.interpolation), "bilinear");
}

// transformers 5.24: a SiglipTokenizer pads with "</s>" unless the file says otherwise, and the tower reads
// the padding; its cleaning is no other tokenizer's.
TEST(CheckpointConfig, WhatATokenizersFileSaysAboutPaddingAndLength) {
  const Folder folder;
  const auto siglip = folder.with("tokenizer_config.json",
                                  R"({"tokenizer_class": "SiglipTokenizer", "model_max_length": 64})");
  EXPECT_EQ(name_of(adopted(siglip).text.tokenizer.marks), "siglip");
  EXPECT_EQ(name_of(adopted(siglip).text.tokenizer.cleaning), "unpunctuated");
  const auto zero =
      folder.with("tokenizer_config.json",
                  R"({"tokenizer_class": "SiglipTokenizer", "pad_token": {"content": "<pad>"}})");
  EXPECT_EQ(name_of(adopted(zero).text.tokenizer.marks), "");
  const auto other =
      folder.with("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer", "pad_token": "<unk>"})");
  EXPECT_NE(said(contradictions(adopted(other), other, true, true)).find("pad_token is \"<unk>\""),
            std::string::npos);
  const std::string clip = R"({"tokenizer_class": "CLIPTokenizer", "model_max_length": )";
  folder.with("config.json",
              R"({"model_type": "clip", "text_config": {"num_attention_heads": 2}, "vision_config": {}})");
  EXPECT_NE(said(contradictions(stated(), folder.with("tokenizer_config.json", clip + "16}"), false, true))
                .find("model_max_length means text.context = 16, the model has 77"),
            std::string::npos);
  for (const char* usual : {"77}", "1000000000000000019884624838656}"}) {
    const auto config = folder.with("tokenizer_config.json", clip + usual);
    EXPECT_EQ(said(contradictions(stated(), config, false, true)).find("context"), std::string::npos);
  }
}

TEST(CheckpointConfig, TimmSaysHowPicturesAreCut) {
  const Folder folder;
  const auto config = folder.with(
      "config.json", R"({"architecture": "vit_base_patch16_224", "num_classes": 0, "global_pool": "token",
                         "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic",
                                            "crop_pct": 0.9, "crop_mode": "center", "input_size": [3, 64, 64]}})");
  const ModelSpec model = adopted(config);
  EXPECT_EQ(model.image.resize_px, 71);
  EXPECT_NE(said(contradictions(model, config, true, false)).find("image.layer_norm_epsilon = 1e-06"),
            std::string::npos);
}

// timm 1.0.31: PretrainedCfg() has ImageNet's mean, crop_pct 0.875 of 224 px, bicubic, from the middle.
TEST(CheckpointConfig, WhatATimmFolderLeavesOutHasTimmsDefault) {
  const Folder folder;
  const auto timm = [&](const std::string& more) {
    return folder.with("config.json", R"({"num_classes": 0)" + more + "}");
  };
  ModelSpec model = stated();
  model.image.image_px = 224;
  adopt_config(
      model,
      timm(R"(, "architecture": "vit_base_patch16_224", "global_pool": "token", "pretrained_cfg": {})"), true,
      true);
  EXPECT_EQ(model.image.mean, (std::vector<double>{0.485, 0.456, 0.406}));
  EXPECT_EQ(model.image.std, (std::vector<double>{0.229, 0.224, 0.225}));
  EXPECT_EQ(model.image.resize_px, 256);
  EXPECT_EQ(name_of(model.image.interpolation), "bicubic");
  const auto refused = [&](const CheckpointConfig& config) {
    return said(contradictions(stated(), config, true, false));
  };
  EXPECT_NE(refused(timm(R"(, "architecture": "vit_base_patch16_224", "global_pool": "token")"))
                .find("pretrained_cfg"),
            std::string::npos);
  EXPECT_NE(
      refused(timm(R"(, "architecture": "efficientnet_b0", "global_pool": "max", "pretrained_cfg": {})"))
          .find("global_pool is \"max\""),
      std::string::npos);
}

TEST(CheckpointConfig, OlderPartsOfClipWinAsTransformersHasIt) {
  const Folder folder;
  const auto config = folder.with(
      "config.json",
      R"({"model_type": "clip", "text_config": {"num_attention_heads": 2, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-3},
          "text_config_dict": {"num_attention_heads": 2, "hidden_act": "gelu"},
          "vision_config": {"num_attention_heads": 2, "hidden_act": "gelu"}, "vision_config_dict": null})");
  const ModelSpec model = [&] {
    ModelSpec stated_too = stated();
    adopt_config(stated_too, config, true, true, true);
    return stated_too;
  }();
  EXPECT_FALSE(model.text.quick_gelu);
  EXPECT_FALSE(model.image.quick_gelu);
  EXPECT_NE(model.text.layer_norm_epsilon,
            1e-3);  // the class's default, 1e-5, as the older part says nothing
}

TEST(CheckpointConfig, TheProcessorOfTransformers5IsReadAndComesFirst) {
  const Folder folder;
  folder.with("preprocessor_config.json", R"({"size": 64, "image_mean": 0.1, "image_std": 0.1})");
  const ModelSpec model = adopted(folder.with(
      "processor_config.json",
      R"({"processor_class": "SiglipProcessor", "image_processor": {"image_processor_type": "SiglipImageProcessor",
          "size": {"height": 64, "width": 64}}})"));
  EXPECT_EQ(model.image.mean, std::vector<double>(3, 0.5));  // the class's, as the file is silent
  EXPECT_EQ(model.image.std, std::vector<double>(3, 0.5));
  EXPECT_EQ(name_of(model.image.resize_mode), "square");
  EXPECT_EQ(adopted(folder.with("processor_config.json", R"({"image_seq_length": 9})")).image.mean,
            std::vector<double>(3, 0.1));
  const auto unknown = folder.with(
      "preprocessor_config.json",
      R"({"image_processor_type": "DPTImageProcessor", "size": {"height": 64, "width": 64}, "resample": 3})");
  EXPECT_NE(said(contradictions(adopted(unknown), unknown, true, true)).find("image_mean is absent"),
            std::string::npos);
}

// CLIPImageProcessor of transformers 5.24 halves an odd rest down, torchvision (open_clip, timm) to even; a
// square resize has no rest.
TEST(CheckpointConfig, WhereTheCropBegins) {
  const Folder folder;
  const std::string
      square = R"({"image_processor_type": "SiglipImageProcessor", "size": {"height": 64, "width": 64}})",
      clip = R"({"image_processor_type": "CLIPImageProcessor", "size": 64, "crop_size": 64})";
  const auto none = folder.with("preprocessor_config.json", square);
  EXPECT_EQ(adopted(none).image.crop_rounding, CropRounding::kUnset);
  EXPECT_EQ(model_json(adopted(none)).find("crop_rounding"), std::string::npos);
  const auto down = folder.with("preprocessor_config.json", clip);
  EXPECT_EQ(name_of(adopted(down).image.crop_rounding), "down");
  ModelSpec contrary = adopted(down);
  contrary.image.crop_rounding = CropRounding::kHalfToEven;
  EXPECT_NE(said(contradictions(contrary, down, true, true))
                .find("do_center_crop means image.crop_rounding = \"down\", the model has \"half_to_even\""),
            std::string::npos)
      << said(contradictions(contrary, down, true, true));
  EXPECT_EQ(said(contradictions(adopted(down), down, true, true)), "");
  const auto open =
      folder.with("open_clip_config.json", open_clip("", "", "", R"({"mean": 0.5, "std": 0.5})"));
  EXPECT_EQ(model_json(adopted(open)).find("crop_rounding"), std::string::npos)
      << "as when nobody says anything";
  contrary = adopted(open);
  EXPECT_EQ(said(contradictions(contrary, open, true, true)), "");
  contrary.image.crop_rounding = CropRounding::kDown;
  EXPECT_NE(said(contradictions(contrary, open, true, true)).find("image.crop_rounding = \"half_to_even\""),
            std::string::npos);
}

TEST(CheckpointConfig, OblongPicturesAndSizesOfOtherModelsAreNotTakenForOurs) {
  const Folder folder;
  const auto oblong = folder.with("open_clip_config.json", [] {
    std::string text = open_clip();
    return text.replace(text.find("\"image_size\": 64"), 16, "\"image_size\": [128, 32]");
  }());
  EXPECT_NE(said(contradictions(adopted(oblong), oblong, true, true)).find("image_size is [128,32]"),
            std::string::npos);
  const auto other = folder.with("open_clip_config.json", open_clip("", "", "", R"({"size": 80})"));
  ModelSpec model = stated();
  adopt_config(model, other, true, true, true);  // open_clip takes the model's size
  EXPECT_NE(model.image.resize_px, 80);
}

TEST(CheckpointConfig, ACausalBertIsRefused) {
  const Folder folder;
  const auto config = folder.with("config.json", R"({"model_type": "bert", "is_decoder": true})");
  EXPECT_NE(said(contradictions(adopted(config), config, false, true)).find("is_decoder is true"),
            std::string::npos);
}

// A value that was changed and is a value still is read by nobody but the manifest.
TEST(CheckpointConfig, WhatTheManifestSaysOtherwiseIsRefusedByName) {
  const Folder folder;
  const std::string own =
      R"({"format": 1, "model": {"image": {"heads": 2}, "text": {}}, "vocabulary": "", "provenance": {}})";
  const io::Path config = io::Path(folder.path()) / "config.json";
  folder.with("config.json", own);
  const auto manifest =
      R"({"format":"trireme-model-folder","version":1,"files":[{"name":"config.json","bytes":)" +
      std::to_string(own.size()) + R"(,"xxh3":")" + io::hex(io::xxh3_64(own)) + "\"}]}";
  EXPECT_TRUE(folder.with("manifest.json", manifest).own.has_value());
  std::string other = own;
  other[own.find(": 2") + 2] = '4';
  for (const std::string& damaged : {other, own + " ", std::string("{}"), own.substr(0, 40), std::string()}) {
    try {
      folder.with("config.json", damaged);
      ADD_FAILURE() << damaged;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
      EXPECT_NE(std::string(error.what()).find(config.string()), std::string::npos) << error.what();
    }
  }
  io::remove_file(config);
  EXPECT_THROW(folder.read(), Error);
  folder.with("config.json", own);
}

TEST(CheckpointConfig, DamagedConfigsAreRefused) {
  const Folder folder;
  const std::string own =
      R"({"format": 1, "model": {"image": {}, "text": {}}, "vocabulary": "", "provenance": {}})";
  EXPECT_TRUE(folder.with("config.json", own).own.has_value());
  for (
      const std::string& damaged :
      {own.substr(0, own.size() / 2), std::string("[]"), std::string("null"),
       std::string(R"({"format": 1, "model": {"image": {}, "text": {}}, "provenance": {}})"),
       std::string(
           R"({"format": 1, "model": {"image": {"heads": "many"}, "text": {}}, "vocabulary": "", "provenance": {}})"),
       std::string(R"({"format": 1, "model": 3, "vocabulary": "", "provenance": {}})"),
       std::string(
           R"({"format": 1, "model": {"image": {}, "text": {"new": 1}}, "vocabulary": "", "provenance": {}})"),
       std::string(R"({"model_cfg": {"embed_dim": 8, "vision_cfg": {"width": "wide"}, "text_cfg": {}}})"),
       std::string(R"({"model_cfg": 3})")}) {
    EXPECT_THROW(folder.with("config.json", damaged), Error) << damaged;
  }
  const auto empty = folder.with("config.json", "{}");
  EXPECT_NE(said(contradictions(stated(), empty, true, false)).find("nobody knows what it describes"),
            std::string::npos);
}

TEST(CheckpointConfig, NewFieldsStayOutOfTheTextOfOldModels) {
  ModelSpec model;
  resolve_model_defaults(model);
  const std::string before = model_json(model);
  for (const char* field :
       {"pooling_", "readout", "cleaning", "rotary", "layer_scale", "activation", "mlp_width"})
    EXPECT_EQ(before.find(field), std::string::npos) << field;
  model.image.pooling = ImagePooling::kMean;
  EXPECT_NE(model_json(model), before);
  EXPECT_EQ(model_from_json(model_json(model)).image.pooling, ImagePooling::kMean);
}

}  // namespace
}  // namespace trireme::jobs
