#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "jobs/specification/image_preprocess.h"
#include "jobs/specification/job_spec.h"
#include "jobs/specification/model_defaults.h"
#include "tests/support/small_model_spec.h"
#include "worker/exchange/checkpoint_model.h"
#include "worker/exchange/export_model.h"
#include "worker/exchange/model_info_tool.h"
#include "worker/exchange/weights_tool.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/model_cost.h"

namespace trireme::worker::exchange {
namespace {

namespace fs = std::filesystem;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

fs::path scratch(const std::string& name) {
  const auto folder = fs::temp_directory_path() / ("trireme_exchange_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  return folder / name;
}

// A peer's checkpoint out of the golden file of its family.
std::string checkpoint_of(const std::string& family) {
  const checkpoint::SafetensorsFile file(
      io::Path(std::string(TRIREME_SOURCE_DIR) + "/tests/golden/towers/" + family + ".safetensors"));
  NamedTensors tensors;
  for (const std::string& name : file.names())
    if (name.starts_with("weight.")) tensors.emplace_back(name.substr(7), file.load(name));
  const char* heads = family == "hf_bert"           ? "5"
                      : family == "open_clip_quick" ? "4"
                                                    : "3";  // divide all widths
  checkpoint::write_safetensors(scratch(family), tensors, {{"num_attention_heads", heads}}, false);
  return scratch(family).string();
}

int tool(int (*run)(int, char**), std::vector<std::string> words, std::string* output = nullptr) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  ::testing::internal::CaptureStdout();
  int code = 0;
  try {
    code = run(static_cast<int>(arguments.size()), arguments.data());
  } catch (...) {
    ::testing::internal::GetCapturedStdout();
    throw;
  }
  const std::string text = ::testing::internal::GetCapturedStdout();
  if (output != nullptr) *output = text;
  return code;
}

struct Family {
  const char* name;
  checkpoint::Layout layout;
  std::size_t unused;  // tensors of theirs that no model of ours holds
};

// Theirs -> ours -> theirs gives every tensor back, bit for bit.
TEST(Exchange, RoundTripOfEveryLayout) {
  using checkpoint::Layout;
  for (const Family& family : {Family{"open_clip_quick", Layout::kTrireme, 0},
                               {"hf_clip", Layout::kHfClip, 0},
                               {"hf_bert", Layout::kHfBert, 2},
                               {"hf_blip", Layout::kHfBlip, 0},
                               {"timm_vit", Layout::kTimmVit, 2}}) {
    const std::string path = checkpoint_of(family.name);
    const CheckpointModel model = recognise(path);
    EXPECT_EQ(model.layout, family.layout) << family.name;
    const auto back = scratch(std::string(family.name) + ".back").string();
    EXPECT_EQ(tool(run_weights, {"weights", "convert", path, back, "--to", layout_name(family.layout)}), 0);
    const checkpoint::SafetensorsFile first{io::Path(path)}, second{io::Path(back)};
    EXPECT_EQ(second.names().size() + family.unused, first.names().size()) << family.name;
    for (const std::string& name : second.names())
      EXPECT_TRUE(at::equal(second.load(name).view(-1), first.load(name).view(-1))) << family.name << name;
    EXPECT_EQ(tool(run_weights, {"weights", "compare", path, back}), 0);
  }
}

TEST(Exchange, InspectSaysTheSpecificationThatFits) {
  std::string text;
  tool(run_weights, {"weights", "inspect", checkpoint_of("hf_clip"), "--json", "--tensors"}, &text);
  const auto found = nlohmann::json::parse(text);
  EXPECT_EQ(found["layout"], "hf_clip");
  EXPECT_EQ(found["model"]["image"]["width"], 32);
  EXPECT_EQ(found["model"]["image"]["image_px"], 30);
  EXPECT_EQ(found["model"]["image"]["patch_px"], 10);
  EXPECT_EQ(found["model"]["text"]["context"], 9);
  EXPECT_EQ(found["model"]["text"]["layers"], 2);
  EXPECT_EQ(found["model"]["embed_dim"], 12);
  EXPECT_EQ(found["vocabulary_size"], 64);
  EXPECT_EQ(found["all"].size(), found["tensors"]);
  // What it prints is a model: it builds, and the checkpoint loads into it.
  auto model = found["model"];
  model["image"]["heads"] = 4;
  model["text"]["heads"] = 3;
  model["text"]["tokenizer"] = {{"kind", "hashed_words"}, {"buckets", 64}};
  model["init_from"] = scratch("hf_clip").string();
  EXPECT_NO_THROW(models::DualEncoder(jobs::model_from_json(model.dump()), 1));
}

TEST(Exchange, FaultsOfACheckpointAreListedWithTheirNames) {
  const checkpoint::SafetensorsFile file{io::Path(checkpoint_of("hf_clip"))};
  jobs::ModelSpec spec = recognise(scratch("hf_clip").string()).spec;
  spec.text.heads = 3;
  spec.image.heads = 4;
  spec.text.tokenizer = {jobs::TokenizerKind::kHashedWords, "", 64};
  NamedTensors tensors;
  for (const std::string& name : file.names()) {
    at::Tensor value = file.load(name);
    if (name == "text_model.final_layer_norm.bias") continue;  // missing
    if (name == "vision_model.post_layernorm.weight") value[3] = std::nan("");
    if (name == "vision_model.post_layernorm.bias") value = value.to(at::kInt);
    if (name == "visual_projection.weight") value = at::ones({7, 7});
    if (name == "text_model.embeddings.token_embedding.weight") tensors.emplace_back(name + "s", value);
    tensors.emplace_back(name, value);
  }
  const auto path = scratch("faulty");
  checkpoint::write_safetensors(path, tensors, {{"num_attention_heads", "5"}}, false);
  spec.init_from = path.string();
  try {
    models::DualEncoder model(spec, 1);
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    for (const char* words :
         {"missing: text_model.final_layer_norm.bias", "not finite: vision_model.post_layernorm.weight",
          "dtype: vision_model.post_layernorm.bias", "shape: visual_projection.weight",
          "surplus: text_model.embeddings.token_embedding.weights", "text.heads = 5, the model has 3",
          "hf_clip"})
      EXPECT_NE(text.find(words), std::string::npos) << words << "\n" << text;
  }
}

// A projection of another form would be drawn at random: embeddings of nothing.
TEST(Exchange, AProjectionOfAnotherFormIsAFault) {
  jobs::ModelSpec spec = recognise(checkpoint_of("hf_clip")).spec;
  spec.image.heads = 4;
  spec.text.heads = 3;
  spec.text.tokenizer = {jobs::TokenizerKind::kHashedWords, "", 64};
  const auto fault = [](const jobs::ModelSpec& model) {
    try {
      models::DualEncoder built(model, 1);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string weights = checkpoint_of("hf_clip");
  spec.init_from = weights;
  EXPECT_EQ(fault(spec), "");
  spec.text.projection = jobs::ProjectionKind::kLinear;
  EXPECT_NE(fault(spec).find("surplus: text_projection.weight (text.projection decides"), std::string::npos)
      << fault(spec);
  spec.init_from = "";
  spec.text.weights = weights;
  EXPECT_NE(fault(spec).find("missing: text.projection.weight"), std::string::npos) << fault(spec);
  spec.text.weights = "";
  spec.image.weights = weights;  // of a trunk without its projection nothing is drawn
  spec.image.projection = jobs::ProjectionKind::kNone;
  spec.embed_dim = spec.image.width;
  EXPECT_EQ(fault(spec), "");
}

TEST(Exchange, TheConfigBesideTheWeightsMustAgree) {
  const auto folder = scratch("with_config");
  fs::create_directories(folder);
  fs::copy_file(checkpoint_of("hf_clip"), folder / "model.safetensors", fs::copy_options::overwrite_existing);
  std::ofstream(folder / "config.json")
      << R"({"model_type": "clip", "vision_config": {"num_attention_heads": 4, "hidden_act": "quick_gelu"},
             "text_config": {"num_attention_heads": 3, "hidden_act": "gelu"}})";
  jobs::ModelSpec spec = recognise(folder.string()).spec;
  EXPECT_EQ(spec.image.heads, 4);
  EXPECT_TRUE(spec.image.quick_gelu);
  EXPECT_FALSE(spec.text.quick_gelu);
  spec.text.tokenizer = {jobs::TokenizerKind::kHashedWords, "", 64};
  spec.init_from = folder.string();
  spec.text.heads = 3;
  EXPECT_NO_THROW(models::DualEncoder(spec, 1));
  spec.image.quick_gelu = false;
  EXPECT_THROW(models::DualEncoder(spec, 1), Error);
}

TEST(Exchange, CompareFindsTheDifference) {
  const std::string path = checkpoint_of("hf_bert");
  const checkpoint::SafetensorsFile file{io::Path(path)};
  NamedTensors tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.load(name));
  tensors[2].second.view(-1)[0] += 0.25;
  checkpoint::write_safetensors(scratch("moved"), tensors, file.metadata(), false);
  std::string text;
  EXPECT_EQ(tool(run_weights, {"weights", "compare", path, scratch("moved").string()}, &text), 1);
  EXPECT_NE(text.find(tensors[2].first), std::string::npos) << text;
  EXPECT_EQ(tool(run_weights, {"weights", "compare", path, scratch("moved").string(), "--tolerance", "0.3"}),
            0);
}

TEST(Exchange, WrongWordsAreUsageErrors) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"weights"},
                                                {"weights", "look"},
                                                {"weights", "inspect"},
                                                {"weights", "convert", "a", "b", "--to", "hf_klip"},
                                                {"weights", "compare", "a", "b", "--much"}}) {
    try {
      tool(run_weights, words);
      ADD_FAILURE() << words.back();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage) << error.what();
    }
  }
  EXPECT_THROW(tool(run_weights, {"weights", "inspect", "/nowhere"}), Error);
  EXPECT_THROW(tool(run_export, {"export", "--to", "hf", "x"}), Error);
  const auto path = scratch("strange");
  checkpoint::write_safetensors(path, {{"a", at::ones({2})}}, {}, false);
  EXPECT_THROW(recognise(path.string()), Error);
  std::string text;
  EXPECT_EQ(tool(run_weights, {"weights", "inspect", path.string()}, &text), 0);  // looked at all the same
  EXPECT_NE(text.find("unknown"), std::string::npos);
}

TEST(Exchange, AModelThatOthersCannotExpressIsRefused) {
  jobs::ModelSpec spec = testing::small_model_spec(16);
  const auto from = scratch("model").string(), to = scratch("out").string();
  models::DualEncoder(spec, 1).save(from, "");
  EXPECT_THROW(export_open_clip(from, to, true), Error);  // hashed_words
  EXPECT_NO_THROW(export_open_clip(from, to, false));
  EXPECT_THROW(export_hf(from, to, false), Error);
  models::DualEncoder model(spec, 1);
  model.set_image_standardization(at::ones({16}), at::ones({16}));
  model.save(from, "");
  EXPECT_THROW(export_hf(from, to, false), Error);
  spec.image.projection = jobs::ProjectionKind::kLinear;
  models::DualEncoder(spec, 1).save(from, "");
  EXPECT_THROW(export_hf(from, to, false), Error);
  EXPECT_THROW(export_open_clip(from, to, false), Error);
}

// Exported and read back, every field that a model has is there again.
TEST(Exchange, AnExportReadBackIsTheModel) {
  jobs::ModelSpec spec = testing::small_model_spec(16);
  spec.image.pooling = jobs::ImagePooling::kMean;
  spec.image.norm_after_pooling = spec.image.layer_scale = spec.image.mlp_norm = true;
  spec.image.activation = spec.text.activation = jobs::ActivationKind::kGeluTanh;
  spec.image.mlp_width = 40;
  spec.image.ln_pre = false;
  spec.image.layer_norm_epsilon = 1e-3;
  spec.image.mean = {0.1, 0.2, 0.3};
  spec.image.resize_mode = jobs::ResizeMode::kLongest;
  spec.image.fill_level = 9;
  spec.text.readout = jobs::TextReadout::kLast;
  spec.text.bidirectional = true;
  spec.text.layer_norm_epsilon = 1e-4;
  const auto from = scratch("round").string(), to = scratch("round.out").string();
  const models::DualEncoder model(spec, 1);
  model.save(from, "{}");
  export_open_clip(from, to, false);
  const CheckpointModel back = recognise(to);
  EXPECT_TRUE(back.refused.empty()) << back.refused.front();
  auto expected = nlohmann::json::parse(jobs::model_json(model.spec())),
       found = nlohmann::json::parse(jobs::model_json([&] {
         jobs::ModelSpec resolved = back.spec;
         jobs::resolve_model_defaults(resolved);
         return resolved;
       }()));
  expected["text"]["tokenizer"]["buckets"] =
      found["text"]["tokenizer"]["buckets"];  // the size of the vocabulary
  EXPECT_EQ(found["image"], expected["image"]);
  EXPECT_EQ(found["text"], expected["text"]);
}

// transformers' AlignProcessor cuts at 64 unless the tokenizer's file says max_length.
TEST(Exchange, AnAlignReadBackIsCutWhereItWas) {
  jobs::ModelSpec spec = testing::small_model_spec(16);
  spec.image = {};
  spec.image.kind = jobs::ImageTowerKind::kEfficientNetB0;
  spec.image.image_px = 33;
  spec.image.projection = jobs::ProjectionKind::kNone;
  spec.embed_dim = 320;
  spec.text = {};
  spec.text.kind = jobs::TextTowerKind::kBert;
  spec.text.width = 16;
  spec.text.layers = spec.text.heads = 1;
  spec.text.pooling = jobs::TextPooling::kCls;
  spec.text.positions = 100;
  spec.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
  spec.text.tokenizer.vocabulary = scratch("words.txt").string();
  io::write_file_atomic(spec.text.tokenizer.vocabulary, "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\ndog\n", false);
  for (const std::int64_t context : {24, 77}) {
    spec.text.context = context;
    const auto from = scratch("align").string(), to = scratch("align.hf").string();
    models::DualEncoder(spec, 1).save(from, "{}");
    export_hf(from, to, true);
    EXPECT_EQ(nlohmann::json::parse(io::read_file(io::Path(to) / "tokenizer_config.json"))["max_length"],
              context);
    EXPECT_EQ(recognise(to).spec.text.context, context);
    EXPECT_EQ(recognise(to).spec.image.image_px, 33);
  }
}

// Ours stands in the config beside theirs: what transformers reads there means another pixel, and open_clip
// resizes by Pillow whatever we did.
TEST(Exchange, AnExportKeepsWhereTheCropBeginsAndHowItIsResized) {
  for (const auto rounding :
       {jobs::CropRounding::kUnset, jobs::CropRounding::kHalfToEven, jobs::CropRounding::kDown}) {
    jobs::ModelSpec spec = testing::small_model_spec(16);
    spec.image.crop_rounding = rounding;
    if (rounding != jobs::CropRounding::kUnset) spec.image.resampling = jobs::Resampling::kPillow;
    spec.text.tokenizer = {};
    spec.text.tokenizer.kind = jobs::TokenizerKind::kClipBpe;
    spec.text.tokenizer.vocabulary = "pretrained:clip";
    spec.text.context = 77;
    const std::string name = "crop." + std::string(name_of(rounding));
    const auto from = scratch(name).string();
    const models::DualEncoder model(spec, 1);
    model.save(from, "{}");
    for (const bool hf : {false, true}) {
      const auto to = scratch(name + (hf ? ".hf" : ".open_clip")).string();
      hf ? export_hf(from, to, false) : export_open_clip(from, to, false);
      const CheckpointModel back = recognise(to);
      EXPECT_TRUE(back.refused.empty()) << back.refused.front();
      jobs::ModelSpec resolved = back.spec, ours = model.spec();
      jobs::resolve_model_defaults(resolved);
      EXPECT_EQ(resolved.image.crop_rounding == jobs::CropRounding::kDown,
                rounding == jobs::CropRounding::kDown);
      EXPECT_EQ(jobs::image_preprocess(resolved.image).crop_down,
                jobs::image_preprocess(ours.image).crop_down);
      EXPECT_EQ(jobs::image_preprocess(resolved.image).pillow, rounding != jobs::CropRounding::kUnset);
      auto expected = nlohmann::json::parse(jobs::model_json(ours)),
           found = nlohmann::json::parse(jobs::model_json(resolved));
      expected["image"].erase("crop_rounding"), found["image"].erase("crop_rounding");
      EXPECT_EQ(found["image"], expected["image"]) << to;
    }
  }
}

TEST(Exchange, TimmsClassifierIsNoProjection) {
  const jobs::ModelSpec found = recognise(checkpoint_of("timm_vit")).spec;
  EXPECT_EQ(found.image.projection, jobs::ProjectionKind::kNone);
  EXPECT_EQ(found.embed_dim, 24);
}

// timm 1.0: blocks per stage and widths. b1 is as wide as b0, lite1 as lite0; their stages are longer.
TEST(Exchange, TimmsEfficientNetsAreToldByTheirStages) {
  struct Known {
    const char* kind;
    std::vector<std::int64_t> repeats;
    bool squeezes;
  };
  for (const Known& known : {Known{"efficientnet_b0", {1, 2, 2, 3, 3, 4, 1}, true},
                             {"efficientnet_b1", {2, 3, 3, 4, 4, 5, 2}, true},
                             {"efficientnet_lite0", {1, 2, 2, 3, 3, 4, 1}, false},
                             {"efficientnet_lite1", {1, 3, 3, 4, 4, 5, 1}, false}}) {
    const std::int64_t widths[] = {16, 24, 40, 80, 112, 192, 320};
    NamedTensors tensors{{"conv_stem.weight", at::zeros({32, 3, 3, 3})},
                         {"conv_head.weight", at::zeros({1280, 320, 1, 1})}};
    if (known.squeezes) tensors.emplace_back("blocks.0.0.se.conv_reduce.weight", at::zeros({8, 32, 1, 1}));
    for (std::size_t stage = 0; stage < 7; ++stage)
      for (std::int64_t block = 0; block < known.repeats[stage]; ++block)
        tensors.emplace_back("blocks." + std::to_string(stage) + "." + std::to_string(block) +
                                 (stage == 0 ? ".conv_pw.weight" : ".conv_pwl.weight"),
                             at::zeros({widths[stage], 4, 1, 1}));
    const auto path = scratch(known.kind);
    checkpoint::write_safetensors(path, tensors, {}, false);
    const jobs::ModelSpec found = recognise(path.string()).spec;
    EXPECT_EQ(name_of(found.image.kind), known.kind);
    EXPECT_EQ(found.embed_dim, 1280);
    // timm's transform of this config resizes to floor(320 / 0.9) and cuts out 320.
    const auto folder = scratch(std::string(known.kind) + ".timm");
    fs::create_directories(folder);
    fs::copy_file(path, folder / "model.safetensors", fs::copy_options::overwrite_existing);
    std::ofstream(folder / "config.json")
        << R"({"architecture": ")" << known.kind
        << R"(", "pretrained_cfg": {"input_size": [3, 320, 320], "crop_pct": 0.9}})";
    const jobs::ImageTowerSpec image = recognise(folder.string()).spec.image;
    EXPECT_EQ(image.image_px, 320);
    EXPECT_EQ(image.resize_px, 355);
  }
}

// transformers' BLIP: both parts are named, and theirs -> ours -> theirs gives every tensor back.
TEST(Exchange, ACaptionerIsRecognised) {
  const checkpoint::SafetensorsFile golden(
      io::Path(std::string(TRIREME_SOURCE_DIR) + "/tests/golden/captioner.safetensors"));
  NamedTensors tensors;
  for (const std::string& name : golden.names())
    if (name.starts_with("weight.")) tensors.emplace_back(name.substr(7), golden.load(name));
  const auto folder = scratch("blip");
  fs::create_directories(folder);
  checkpoint::write_safetensors(folder / "model.safetensors", tensors, {}, false);
  std::ofstream(folder / "config.json")
      << R"({"model_type": "blip", "vision_config": {"num_attention_heads": 3}, "text_config": {"num_attention_heads": 5}})";
  std::string text;
  tool(run_weights, {"weights", "inspect", folder.string(), "--json"}, &text);
  const auto found = nlohmann::json::parse(text);
  EXPECT_EQ(found["layout"], "hf_blip");
  EXPECT_EQ(found["model"]["image"]["image_px"], 32);
  EXPECT_EQ(found["model"]["image"]["heads"], 3);
  EXPECT_EQ(found["model"]["image"]["ln_pre"], false);
  EXPECT_EQ(found["model"]["text"]["kind"], "decoder");
  EXPECT_EQ(found["model"]["text"]["width"], 20);
  EXPECT_EQ(found["model"]["text"]["layers"], 3);
  EXPECT_EQ(found["model"]["text"]["heads"], 5);
  EXPECT_EQ(found["model"]["text"]["positions"], 24);
  EXPECT_EQ(found["model"]["text"]["extra_tokens"], 2);
  EXPECT_EQ(found["model"]["text"]["tied_head"], true);
  EXPECT_EQ(found["vocabulary_size"], 90);
  const auto back = scratch("blip.back").string();
  EXPECT_EQ(tool(run_weights, {"weights", "convert", folder.string(), back, "--to", "hf_blip"}), 0);
  const checkpoint::SafetensorsFile second{io::Path(back)};
  EXPECT_EQ(second.names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors)
    EXPECT_TRUE(at::equal(second.load(name).view(-1), tensor.reshape(-1))) << name;
}

jobs::ModelSpec captioner_spec() {
  jobs::ModelSpec spec = testing::small_model_spec(16);
  spec.image.ln_pre = false;
  spec.text.kind = jobs::TextTowerKind::kDecoder;
  spec.text.context = spec.text.positions = 8;
  spec.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
  spec.text.tokenizer.vocabulary = scratch("words.txt").string();
  std::ofstream(scratch("words.txt")) << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\n";
  return spec;
}

TEST(Exchange, ACaptionerBecomesBlip) {
  jobs::ModelSpec spec = captioner_spec();
  const auto from = scratch("captioner").string(), to = scratch("captioner.hf").string();
  const models::DualEncoder model(spec, 1);
  model.save(from, "{}");
  EXPECT_EQ(tool(run_export, {"export", "--to", "hf", from, to}), 0);
  // What is there is never written over: not the export, and not what is converted.
  EXPECT_THROW(tool(run_export, {"export", "--to", "hf", from, to}), Error);
  const std::string written = to + "/model.safetensors";
  EXPECT_THROW(tool(run_weights, {"weights", "convert", written, written, "--to", "hf_blip"}), Error);
  for (const char* file : {"vocab.txt", "tokenizer_config.json", "preprocessor_config.json"})
    EXPECT_TRUE(fs::exists(fs::path(to) / file)) << file;
  const auto config = nlohmann::json::parse(std::ifstream(fs::path(to) / "config.json"));
  EXPECT_EQ(config["text_config"]["bos_token_id"], 2);
  EXPECT_EQ(config["text_config"]["sep_token_id"], 3);
  EXPECT_EQ(config["text_config"]["vocab_size"], 7);
  // Ours again, and both are told to be the same.
  const CheckpointModel back = recognise(to), ours = recognise(from);
  EXPECT_EQ(back.layout, checkpoint::Layout::kHfBlip);
  EXPECT_EQ(ours.layout, checkpoint::Layout::kTrireme);
  EXPECT_EQ(name_of(ours.spec.text.kind), "decoder");
  EXPECT_EQ(ours.spec.image.heads, 2);
  EXPECT_EQ(ours.spec.text.heads, 2);
  std::map<std::string, at::Tensor> theirs;
  for (const auto& [name, tensor] : read_tensors(back)) theirs.emplace(name, tensor);
  EXPECT_EQ(theirs.at("visual.conv1.bias").abs().sum().item<double>(), 0) << "BLIP's patches have one";
  for (const auto& [name, tensor] : read_tensors(ours)) {
    if (name == "logit_scale") continue;
    ASSERT_TRUE(theirs.contains(name)) << name;
    EXPECT_TRUE(at::equal(theirs.at(name), tensor)) << name;
  }
}

TEST(Exchange, ACaptionerThatBlipCannotExpressIsRefused) {
  const auto refusal = [](const jobs::ModelSpec& spec) {
    const auto from = scratch("captioner").string();
    models::DualEncoder(spec, 1).save(from, "{}");
    try {
      export_hf(from, scratch("captioner.no").string(), true);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  jobs::ModelSpec spec = captioner_spec();
  spec.image.ln_pre = true;
  EXPECT_NE(refusal(spec).find("image.ln_pre"), std::string::npos) << refusal(spec);
  spec = captioner_spec();
  spec.image.resize_mode = jobs::ResizeMode::kSquare;
  spec.image.resize_px = 20;
  EXPECT_NE(refusal(spec).find("centre crop"), std::string::npos) << refusal(spec);
  spec = captioner_spec();
  spec.image = {};
  spec.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
  spec.image.width_factor = 0.25;
  spec.image.image_px = 32;
  EXPECT_NE(refusal(spec).find("image.kind efficientnet_lite0"), std::string::npos) << refusal(spec);
}

TEST(Recognise, AFolderOfOursByItsConfig) {
  jobs::ModelSpec spec = testing::small_model_spec(32);
  spec.text.frozen = true;
  const auto folder = scratch("own");
  models::DualEncoder(spec, 1).save(folder.string(), "{}");
  std::string text;
  tool(run_weights, {"weights", "inspect", folder.string(), "--json"}, &text);
  const auto found = nlohmann::json::parse(text);
  EXPECT_EQ(found["layout"], "trireme");
  EXPECT_EQ(found["vocabulary_size"], 64);
  EXPECT_EQ(found["model"]["text"]["tokenizer"]["kind"], "hashed_words");
  EXPECT_EQ(found["model"]["text"]["tokenizer"]["buckets"], 64);
  EXPECT_EQ(found["model"]["image"]["resize_px"], 16);
  EXPECT_EQ(found["model"]["text"]["frozen"], false);
  // What is printed can be pasted, with the folder as its start.
  auto pasted = jobs::model_from_json(found["model"].dump());
  pasted.init_from = folder.string();
  EXPECT_NO_THROW(models::DualEncoder(pasted, 1));
  tool(run_model_info, {"model-info", jobs::model_json(pasted)}, &text);
  EXPECT_TRUE(nlohmann::json::parse(text).contains("parameters")) << text;
  pasted.image.width = 64;
  tool(run_model_info, {"model-info", jobs::model_json(pasted)}, &text);
  EXPECT_NE(nlohmann::json::parse(text).at("fault").get<std::string>().find("shape: visual.conv1.weight"),
            std::string::npos)
      << text;
}

TEST(ModelInfo, AnswersEachModel) {
  jobs::ModelSpec spec;
  spec.text.tokenizer.buckets = 49408;
  std::string text;
  tool(run_model_info, {"model-info", jobs::model_json(spec), "{\"image\": 3}"}, &text);
  const auto first = nlohmann::json::parse(text.substr(0, text.find('\n')));
  EXPECT_EQ(first["parameters"], 151277313);
  // open_clip's own count for ViT-B-32 is 7.3 giga-multiply-adds per pair with 77 tokens.
  EXPECT_NEAR(
      (first["image"]["forward_gflops"].get<double>() + first["text"]["forward_gflops"].get<double>()) / 2,
      7.3, 0.15);
  EXPECT_TRUE(nlohmann::json::parse(text.substr(text.find('\n') + 1)).contains("error"));
}

}  // namespace
}  // namespace trireme::worker::exchange
