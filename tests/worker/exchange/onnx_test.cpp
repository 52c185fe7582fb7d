// Exported towers, judged by onnxruntime where a Python has it.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "tests/support/small_model_spec.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/exchange/onnx/export_onnx.h"
#include "worker/exchange/onnx/onnx_layers.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::exchange {
namespace {

namespace fs = std::filesystem;

class OnnxTest : public ::testing::Test {
 protected:
  OnnxTest() : folder_(fs::temp_directory_path() / ("trireme_onnx_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    at::manual_seed(4);
  }
  ~OnnxTest() override { fs::remove_all(folder_); }

  // A model of random numbers, none of them as it begins (scales 1, shifts 0), exported to folder_/name with
  // what it makes of some pictures and texts.
  void add(const std::string& name, const std::function<void(jobs::ModelSpec&)>& change,
           std::size_t most = OnnxGraph::kMostBytes) {
    const at::NoGradGuard no_gradients;
    jobs::ModelSpec spec = testing::small_model_spec(16);
    change(spec);
    models::DualEncoder model(spec, 7);
    for (auto& [key, tensor] : model.state()) {
      if (!at::isFloatingType(tensor.scalar_type()) || key == "logit_scale") continue;
      at::Tensor(tensor).add_(at::randn_like(tensor), 0.2);
      if (key.ends_with("running_var")) at::Tensor(tensor).abs_().add_(0.5);
    }
    const std::string trained = (folder_ / (name + ".model")).string(),
                      to = (folder_ / "exported" / name).string();
    model.save(trained, "{}");
    export_onnx(trained, to, false, most);
    const std::int64_t px = spec.image.image_px, context = spec.text.context;
    std::vector<std::pair<std::string, at::Tensor>> expected;
    for (const std::int64_t count : {1, 3}) {
      const at::Tensor pixels = at::randn({count, 3, px, px});
      expected.emplace_back("pixels" + std::to_string(count), pixels);
      expected.emplace_back("image" + std::to_string(count), model.encode_image(pixels));
    }
    for (const std::int64_t length :
         onnx_text_is_padded(model.spec().text) ? std::vector{context} : std::vector{context, context - 3}) {
      at::Tensor tokens = at::randint(1, 60, {4, length}, at::kLong);
      const auto end = model.tokenizer().end_id(), pad = model.tokenizer().pad_id();
      for (std::int64_t row = 0; row < 4; ++row) {  // texts of unlike length, padded
        const std::int64_t last = 1 + row % (length - 1);
        tokens[row][last] = end;
        if (last + 1 < length) tokens[row].slice(0, last + 1).fill_(pad);
      }
      expected.emplace_back("tokens" + std::to_string(length), tokens);
      expected.emplace_back("text" + std::to_string(length), model.encode_text(tokens));
    }
    checkpoint::write_safetensors(fs::path(to) / "expected.safetensors", expected, {}, false);
  }

  // What tests/oracles/<script> says of folder_/exported: its exit code and output; -1 where that Python
  // cannot import what it needs.
  std::pair<int, std::string> judged(const std::string& imports, const std::string& script) const {
    const char* const peer = std::getenv("TRIREME_PEER_PYTHON");
    const std::string python =
        peer != nullptr ? peer : std::string(TRIREME_SOURCE_DIR) + "/.trireme/judges/bin/python";
    if (std::system((python + " -c '" + imports + "' > /dev/null 2>&1").c_str()) != 0)
      return {-1, "no " + imports + " for " + python + " (./quickstart judges, or set TRIREME_PEER_PYTHON)"};
    std::FILE* pipe = ::popen((python + " " + TRIREME_SOURCE_DIR + "/tests/oracles/" + script + " " +
                               (folder_ / "exported").string() + " 2>&1")
                                  .c_str(),
                              "r");
    std::string log;
    char line[1024];
    while (pipe != nullptr && std::fgets(line, sizeof line, pipe) != nullptr) log += line;
    return {pipe == nullptr ? 1 : ::pclose(pipe), log};
  }

  fs::path folder_;
};

TEST_F(OnnxTest, OnnxruntimeHasTheSameRowsOfEveryFamily) {
  using namespace jobs;
  const auto image = [](auto change) { return [change](ModelSpec& spec) { change(spec.image); }; };
  const auto text = [](auto change) { return [change](ModelSpec& spec) { change(spec.text); }; };
  add("vit", [](ModelSpec& spec) { spec.image.layers = spec.text.layers = 2; });
  add(
      "vit_apart", [](ModelSpec& spec) { spec.image.layers = spec.text.layers = 2; }, 1024);  // two files
  add("vit_quick", [](ModelSpec& spec) { spec.image.quick_gelu = spec.text.quick_gelu = true; });
  add("vit_linear", [](ModelSpec& spec) {
    spec.image.projection = spec.text.projection = ProjectionKind::kLinear;
    spec.image.patch_bias = true;
  });
  add("vit_uneven", image([](ImageTowerSpec& tower) { tower.image_px = 21; }));  // not whole patches
  add("vit_mean", image([](ImageTowerSpec& tower) {
        tower.pooling = ImagePooling::kMean;
        tower.activation = ActivationKind::kGeluTanh;
        tower.ln_pre = false;
      }));
  add("vit_mean_after", image([](ImageTowerSpec& tower) {
        tower.pooling = ImagePooling::kMean;
        tower.norm_after_pooling = true;
        tower.layer_scale = true;
      }));
  add("vit_siglip", image([](ImageTowerSpec& tower) {
        tower.pooling = ImagePooling::kAttention;
        tower.no_class_token = true;
        tower.ln_pre = false;
      }));
  add("vit_coca", image([](ImageTowerSpec& tower) {
        tower.pooling = ImagePooling::kQueries;
        tower.pooling_heads = 2;
        tower.pooling_queries = 3;
      }));
  add("vit_coca_wide", image([](ImageTowerSpec& tower) {
        tower.pooling = ImagePooling::kQueries;
        tower.pooling_heads = 2;
        tower.pooling_width = 24;
      }));
  add("vit_eva", image([](ImageTowerSpec& tower) {
        tower.rotary = RotaryOrder::kIj;
        tower.gated_mlp = tower.attention_norm = tower.mlp_norm = true;
      }));
  add("vit_post_norm", image([](ImageTowerSpec& tower) {
        tower.post_norm = true;
        tower.rotary = RotaryOrder::kXy;
      }));
  add("efficientnet", [](ModelSpec& spec) {
    spec.image.kind = ImageTowerKind::kEfficientNetB0;
    spec.image.width_factor = 0.25;
    spec.image.depth_factor = 0.5;
    spec.image.image_px = 45;
  });
  add("efficientnet_same", [](ModelSpec& spec) {
    spec.image.kind = ImageTowerKind::kEfficientNetB0;
    spec.image.width_factor = 0.25;
    spec.image.depth_factor = 0.5;
    spec.image.padding = PaddingKind::kSame;
    spec.image.head_conv = true;
    spec.image.image_px = 47;
  });
  add("efficientnet_lite", [](ModelSpec& spec) {
    spec.image.kind = ImageTowerKind::kEfficientNetLite0;
    spec.image.width_factor = 0.25;
    spec.image.depth_factor = 0.3;
    spec.image.image_px = 40;
  });
  for (const auto readout : {TextReadout::kEnd, TextReadout::kFirst, TextReadout::kLast,
                             TextReadout::kLargest, TextReadout::kClass})
    add("text_" + std::string(name_of(readout)),
        text([readout](TextTowerSpec& tower) { tower.readout = readout; }));
  add("text_both_ways", text([](TextTowerSpec& tower) {
        tower.bidirectional = true;
        tower.readout = TextReadout::kFirst;
        tower.layer_scale = true;
      }));
  for (const auto pooling : {TextPooling::kMean, TextPooling::kCls, TextPooling::kPooler})
    add("bert_" + std::string(name_of(pooling)), text([pooling](TextTowerSpec& tower) {
          tower.kind = TextTowerKind::kBert;
          tower.pooling = pooling;
          tower.positions = 8;
        }));

  const auto [code, log] = judged("import onnxruntime, safetensors", "check_onnx.py");
  if (code < 0) GTEST_SKIP() << log;
  std::istringstream lines(log);
  int families = 0;
  for (std::string line; std::getline(lines, line);) {
    char name[256];
    double worst = 1;
    if (std::sscanf(line.c_str(), "%255s %lf", name, &worst) != 2) continue;
    ++families;
    EXPECT_LE(worst, 1e-4) << name;
  }
  EXPECT_EQ(code, 0) << log;
  EXPECT_EQ(families, static_cast<int>(io::list_folder(folder_ / "exported").size())) << log;
  std::printf("%s", log.c_str());
}

TEST_F(OnnxTest, WhatIsTooLargeForOneFileLiesBesideIt) {
  jobs::ModelSpec spec = testing::small_model_spec(16);
  models::DualEncoder model(spec, 7);
  model.save((folder_ / "model").string(), "{}");
  const auto size = [&](const char* name) { return fs::file_size(folder_ / "apart" / name); };
  export_onnx((folder_ / "model").string(), (folder_ / "whole").string(), false);
  export_onnx((folder_ / "model").string(), (folder_ / "apart").string(), false, 1024);
  EXPECT_FALSE(fs::exists(folder_ / "whole/image.onnx.data"));
  for (const char* tower : {"image", "text"}) {
    const std::string file = std::string(tower) + ".onnx";
    EXPECT_GT(size((file + ".data").c_str()), 4096) << tower;
    EXPECT_LT(size(file.c_str()), fs::file_size(folder_ / "whole" / file)) << tower;
    EXPECT_NE(io::read_file(folder_ / "apart" / file).find(file + ".data"), std::string::npos);
  }
}

TEST_F(OnnxTest, TokenizersBesideTheGraphsAreThoseOfTransformers) {
  const fs::path models = fs::path(TRIREME_SOURCE_DIR) / "tests/golden/sentencepiece";
  std::string pieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nphoto\nof\nred\n";
  for (char c = 'a'; c <= 'z'; ++c) pieces += (c == 'a' ? "" : std::string(1, c) + "\n") + "##" + c + "\n";
  io::write_file_atomic(folder_ / "vocab.txt", pieces, false);
  const auto words = [&](const std::string& name, jobs::TokenizerKind kind, const fs::path& vocabulary,
                         jobs::TokenMarks marks = jobs::TokenMarks::kUnset) {
    jobs::ModelSpec spec = testing::small_model_spec(16);
    spec.text.context = 24;
    spec.text.tokenizer = {};
    spec.text.tokenizer.kind = kind;
    spec.text.tokenizer.vocabulary = vocabulary.string();
    spec.text.tokenizer.marks = marks;
    models::DualEncoder model(spec, 7);
    const std::string trained = (folder_ / (name + ".model")).string();
    model.save(trained, "{}");
    export_onnx(trained, (folder_ / "exported" / name).string(), true);
    nlohmann::json rows = nlohmann::json::array();
    for (const char* text : {"a photo of a dog", "red squares on a grey wall", "words of words"})
      rows.push_back({{"text", text}, {"ids", model.tokenizer().encode(text, 24).ids}});
    io::write_file_atomic(folder_ / "exported" / name / "ids.json", rows.dump(), false);
  };
  words("wordpiece", jobs::TokenizerKind::kWordPiece, folder_ / "vocab.txt");
  words("t5", jobs::TokenizerKind::kSentencePiece, models / "t5.model");
  words("siglip", jobs::TokenizerKind::kSentencePiece, models / "t5.model", jobs::TokenMarks::kSiglip);
  words("xlm_roberta", jobs::TokenizerKind::kSentencePiece, models / "xlm_roberta.model",
        jobs::TokenMarks::kXlmRoberta);
  const fs::path merges = fs::path(TRIREME_SOURCE_DIR) / ".trireme/weights/clip-merges.txt.gz";
  if (fs::exists(merges)) words("clip", jobs::TokenizerKind::kClipBpe, merges);
  const auto [code, log] = judged("import transformers, sentencepiece", "check_tokenizers.py");
  if (code < 0) GTEST_SKIP() << log;
  EXPECT_EQ(code, 0) << log;
  EXPECT_EQ(std::ranges::count(log, '\n'), fs::exists(merges) ? 5 : 4) << log;
}

TEST_F(OnnxTest, WhatOtherProgramsDoNotKnowIsNamed) {
  jobs::ModelSpec spec = testing::small_model_spec(16);
  models::DualEncoder model(spec, 7);
  model.save((folder_ / "model").string(), "{}");
  try {
    export_onnx((folder_ / "model").string(), (folder_ / "out").string(), true);
    FAIL();
  } catch (const Error& error) {  // words are hashed, for which nobody has a tokenizer
    EXPECT_NE(std::string(error.what()).find("text.tokenizer.kind hashed_words"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace trireme::worker::exchange
