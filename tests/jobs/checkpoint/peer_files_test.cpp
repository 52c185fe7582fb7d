// Files beside a checkpoint that say how pictures are resized, where texts are cut and what stands behind a
// tower.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "jobs/checkpoint/checkpoint_config.h"

namespace trireme::jobs {
namespace {

namespace fs = std::filesystem;

class PeerFiles : public ::testing::Test {
 protected:
  fs::path folder = fs::temp_directory_path() / ("trireme_peer_files_" + std::to_string(::getpid()));
  void SetUp() override { clear(); }
  void TearDown() override { fs::remove_all(folder); }

  void clear() {
    fs::remove_all(folder);
    fs::create_directories(folder / "1_Pooling");
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder / name) << text; }
  CheckpointConfig read() { return read_checkpoint_config((folder / "model.safetensors").string()); }
  ModelSpec adopted(bool inspected = false) {
    ModelSpec model;
    adopt_config(model, read(), true, true, inspected);
    return model;
  }
  std::string resampling(const std::string& name, const std::string& text) {
    clear();
    write(name, text);
    return std::string(name_of(adopted().image.resampling));
  }
  std::string refused(ModelSpec model) {
    std::string all;
    for (const std::string& one : contradictions(model, read(), false, true)) all += one + "\n";
    return all;
  }
};

// torchvision resizes an open PIL picture by Pillow, and transformers 5 a tensor of bytes unless its class is
// Pillow's; what we trained before has torch's weights.
TEST_F(PeerFiles, ResamplingIsWhatTheFoldersOwnProgramDoes) {
  const std::string open_clip =
      R"({"model_cfg": {"embed_dim": 8, "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 8},
          "text_cfg": {"context_length": 77, "width": 64, "heads": 2, "layers": 2}})";
  EXPECT_EQ(resampling("open_clip_config.json", open_clip + "}"), "pillow");
  EXPECT_EQ(resampling("open_clip_config.json", open_clip + R"(, "preprocess_cfg": {"mean": 0.5}})"),
            "pillow");
  const std::string exported = R"(, "trireme_model": {"image": {)", rest = R"(}, "text": {}}})";
  EXPECT_EQ(resampling("open_clip_config.json", open_clip + exported + rest), "");
  EXPECT_EQ(resampling("open_clip_config.json", open_clip + exported + R"("resampling": "pillow")" + rest),
            "pillow");
  EXPECT_EQ(resampling("config.json",
                       R"({"architecture": "vit_base_patch16_224", "pretrained_cfg": {"mean": 0.5}})"),
            "pillow");
  const std::string pixels = R"(", "size": {"height": 64, "width": 64}, "do_center_crop": false})";
  const auto processor = [&](const std::string& name) {
    return resampling("preprocessor_config.json", R"({"image_processor_type": ")" + name + pixels);
  };
  EXPECT_EQ(processor("CLIPImageProcessor"), "");
  EXPECT_EQ(processor("CLIPImageProcessorFast"), "");
  EXPECT_EQ(processor("CLIPImageProcessorPil"), "pillow");
  const std::string own =
      R"({"format": 1, "vocabulary": "", "provenance": {}, "model": {"text": {}, "image": {)";
  EXPECT_EQ(resampling("config.json", own + "}}}"), "");
  EXPECT_EQ(resampling("config.json", own + R"("resampling": "pillow"}}})"), "pillow");
}

TEST_F(PeerFiles, WhatNoModelHereHasIsNamedByFileAndField) {
  const auto said = [&](const std::string& text) -> std::string {
    write("config.json", R"({"model_type": "clip", "text_config": {)" + text + R"(}, "vision_config": {}})");
    try {
      adopted(true);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(said(R"("num_attention_heads": 8)"), "");
  for (const auto& [text, wanted] :
       {std::pair{R"("num_attention_heads": 0)",
                  "text_config.num_attention_heads means text.heads: 0 is below the least value 1"},
        {R"("eos_token_id": -1)", "text_config.eos_token_id means text.end_token: -1 is below"},
        {R"("layer_norm_eps": 1e300)", "text_config.layer_norm_eps means text.layer_norm_epsilon: 1e+300"}}) {
    const std::string found = said(text);
    EXPECT_NE(found.find(wanted), std::string::npos) << found;
    EXPECT_NE(found.find((folder / "config.json").string()), std::string::npos) << found;
  }
  ModelSpec narrow;
  narrow.image.width = 0;
  try {
    adopt_config(narrow, {}, true, true, true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("shapes of the tensors mean image.width: 0 is below"),
              std::string::npos)
        << error.what();
  }
}

// timm 1.0: tf_ names pad "same" with an epsilon of 1e-3, the others symmetrically with 1e-5; blur, condconv
// and edge variants are other computations, some of the same shapes.
TEST_F(PeerFiles, AnEfficientNetsNameSaysItsPadding) {
  const auto timm = [&](const std::string& name) {
    clear();
    write("config.json", R"({"architecture": ")" + name + R"(", "pretrained_cfg": {"mean": 0.5}})");
    ModelSpec model;
    model.image.kind = ImageTowerKind::kEfficientNetB0;
    adopt_config(model, read(), true, false);
    return std::string(name_of(model.image.padding)) + (read().refusals.empty() ? "" : " refused");
  };
  EXPECT_EQ(timm("efficientnet_b0"), "symmetric");
  EXPECT_EQ(timm("efficientnet_lite0"), "symmetric");
  EXPECT_EQ(timm("tf_efficientnet_b0"), "same");
  EXPECT_EQ(timm("tf_efficientnet_l2"), "same");
  for (const char* other : {"vit_base_patch16_dinov3", "vit_base_patch16_lingbot", "efficientnet_blur_b0",
                            "efficientnet_b0_gn", "efficientnet_cc_b0_4e", "efficientnet_es"})
    EXPECT_EQ(timm(other), " refused") << other;
}

TEST_F(PeerFiles, ABertIsCutWhereItsFolderSays) {
  const auto context = [&] { return adopted(true).text.context; };
  write("config.json", R"({"model_type": "bert", "max_position_embeddings": 512})");
  EXPECT_EQ(context(), 512);
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "model_max_length": 256})");
  EXPECT_EQ(context(), 256);
  write("sentence_bert_config.json", R"({"max_seq_length": 128, "do_lower_case": false})");
  EXPECT_EQ(context(), 128);
  ModelSpec model = adopted(true);
  model.text.kind = TextTowerKind::kBert;
  model.text.context = 77;
  EXPECT_EQ(refused(model), "") << "a job may cut earlier";
  model.text.context = 200;
  EXPECT_NE(refused(model).find("max_seq_length means text.context = 128, the model has 200"),
            std::string::npos)
      << refused(model);
}

// transformers 5.x: AlignProcessor.text_kwargs is {"padding": "max_length", "max_length": 64}, and max_length
// of the tokenizer's own arguments comes before it.
TEST_F(PeerFiles, AlignsCaptionsAreCutWhereItsProcessorDoes) {
  const auto config = [&](const std::string& positions) {
    write("config.json",
          R"({"model_type": "align", "text_config": {"max_position_embeddings": )" + positions + "}}");
  };
  const auto context = [&] { return adopted(true).text.context; };
  config("512");
  EXPECT_EQ(context(), 64);
  config("32");
  EXPECT_EQ(context(), 32);
  config("512");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "model_max_length": 128})");
  EXPECT_EQ(context(), 64);
  ModelSpec model = adopted(true);
  model.text.kind = TextTowerKind::kBert;
  model.text.context = 77;
  EXPECT_NE(refused(model).find("model_type means text.context = 64, the model has 77"), std::string::npos)
      << refused(model);
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "max_length": 24})");
  EXPECT_EQ(context(), 24);
}

// transformers 5.24: with "!" as pad_token "wall!!!" is three tokens of "!", not the pieces of "!!!".
TEST_F(PeerFiles, MarksThatAreWordsAreRefused) {
  const auto said = [&](const std::string& token) {
    write("tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer", "pad_token": )" + token + "}");
    return read().refusals.empty() ? "" : read().refusals.front().what;
  };
  write("config.json", R"({"model_type": "clip_text_model"})");
  EXPECT_EQ(said(R"("<|endoftext|>")"), "");
  EXPECT_EQ(said(R"({"content": "<|endoftext|>", "lstrip": false})"), "");
  EXPECT_NE(said(R"("!")").find("pad_token is \"!\""), std::string::npos) << said(R"("!")");
}

// timm 1.0.31: num_heads of vision_transformer.py.
TEST_F(PeerFiles, ATimmTowersHeadsAreThoseOfItsName) {
  const auto heads = [&](const std::string& name) {
    clear();
    write("config.json", R"({"architecture": ")" + name + R"(", "pretrained_cfg": {"mean": 0.5}})");
    return adopted(true).image.heads;
  };
  EXPECT_EQ(heads("vit_base_patch16_gap_224"), 16);
  EXPECT_EQ(heads("vit_base_patch16_siglip_gap_224"), 12);
  EXPECT_EQ(heads("vit_base_patch16_224"), 12);
  EXPECT_EQ(heads("vit_medium_patch16_gap_256"), 8);
}

TEST_F(PeerFiles, ASiglipThatPadsToFewerTokensThanItReadsIsRefused) {
  write("config.json", R"({"model_type": "siglip_text_model", "max_position_embeddings": 24})");
  const auto padded_to = [&](const std::string& length) {
    write("tokenizer_config.json",
          R"({"tokenizer_class": "SiglipTokenizer", "model_max_length": )" + length + "}");
    std::string all;
    for (const auto& one : read().refusals) all += one.what + "\n";
    return all;
  };
  EXPECT_EQ(padded_to("24"), "");
  EXPECT_EQ(padded_to("1000000000000000019884624838656"), "");
  EXPECT_NE(padded_to("12").find("model_max_length is 12"), std::string::npos) << padded_to("12");
}

TEST_F(PeerFiles, WhatStandsBehindASentenceTowerIsRefused) {
  write("config.json", R"({"model_type": "bert"})");
  ModelSpec model = adopted(true);
  const std::string head = R"([{"path": "", "type": "sentence_transformers.models.Transformer"},)",
                    usual = R"({"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                               {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})";
  write("modules.json", head + usual + "]");
  write("config_sentence_transformers.json",
        R"({"prompts": {"query": "query: "}, "default_prompt_name": null})");
  EXPECT_EQ(refused(model), "");
  write("modules.json",
        head + usual + R"(, {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}])");
  EXPECT_NE(refused(model).find("sentence_transformers.models.Dense"), std::string::npos);
  write("modules.json", head + R"({"path": "2_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  EXPECT_NE(refused(model).find("not in 1_Pooling"), std::string::npos);
  fs::remove(folder / "modules.json");
  write("config_sentence_transformers.json", R"({"default_prompt_name": "query"})");
  EXPECT_NE(refused(model).find("default_prompt_name"), std::string::npos);
  fs::remove(folder / "config_sentence_transformers.json");
  write("sentence_bert_config.json", R"({"max_seq_length": 128, "do_lower_case": true})");
  model.text.kind = TextTowerKind::kBert;
  model.text.context = 128;
  model.text.tokenizer.kind = TokenizerKind::kWordPiece;
  model.text.tokenizer.lower_case = false;
  EXPECT_NE(refused(model).find("do_lower_case"), std::string::npos);
}

}  // namespace
}  // namespace trireme::jobs
