// Every family against the peer it comes from: outputs and gradients of small random towers, read through the
// name maps from the peers' own checkpoints (tests/oracles/record_towers.py).
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>

#include "common/base/error.h"
#include "jobs/specification/model_defaults.h"
#include "jobs/store/published.h"
#include "tests/support/small_model_spec.h"
#include "worker/checkpoint/name_map.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/towers/efficientnet_shape.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {
namespace {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
namespace fs = std::filesystem;

fs::path scratch(const std::string& name) {
  const auto folder = fs::temp_directory_path() / ("trireme_families_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  return folder / name;
}

const checkpoint::SafetensorsFile& golden(const std::string& name) {
  static std::map<std::string, checkpoint::SafetensorsFile> files;
  return files
      .try_emplace(name, std::string(TRIREME_SOURCE_DIR) + "/tests/golden/towers/" + name + ".safetensors")
      .first->second;
}

// The entries under a prefix as a checkpoint of their own.
std::string part_of(const std::string& name, const std::string& prefix) {
  const auto& file = golden(name);
  NamedTensors tensors;
  for (const std::string& key : file.names())
    if (key.starts_with(prefix)) tensors.emplace_back(key.substr(prefix.size()), file.load(key));
  const auto path = scratch(name + "." + prefix + "safetensors");
  checkpoint::write_safetensors(path, tensors, {}, false);
  return path.string();
}

double relative(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor a = found.detach().to(at::kDouble), b = expected.to(at::kDouble);
  return ((a - b).norm() / b.norm().clamp_min(1e-12)).item<double>();
}

// Outputs <= 1e-5, every gradient <= 1e-4, relative. A key's bias shifts all logits of a softmax alike: its
// true gradient is 0, hence the absolute part, which is small beside the gradients of one output's direction.
void compare(const std::string& name, jobs::ModelSpec spec, bool checkpointing,
             const std::function<std::map<std::string, at::Tensor>(DualEncoder&)>& run) {
  spec.image.gradient_checkpointing = spec.text.gradient_checkpointing = checkpointing;
  DualEncoder model(spec, 1);
  const auto& file = golden(name);
  at::Tensor loss = at::zeros({});
  double worst_output = 0, worst_gradient = 0;
  for (const auto& [side, value] : run(model)) {
    const double off = relative(value, file.load("output." + side));
    EXPECT_LT(off, 1e-5) << name << " " << side;
    worst_output = std::max(worst_output, off);
    loss = loss + (value * file.load("direction." + side)).sum();
  }
  std::vector<at::Tensor> leaves;
  const NamedTensors parameters = model.trainable_parameters();
  for (const auto& [key, tensor] : parameters) leaves.push_back(tensor);
  const auto gradients = torch::autograd::grad({loss}, leaves, {}, {}, false, true);
  const checkpoint::SafetensorsFile expected(part_of(name, "gradient."));
  const checkpoint::NameMap map(checkpoint::detect_layout(expected.names(), name),
                                jobs::is_efficientnet(spec.image)
                                    ? efficientnet_shape(model.spec().image).repeats
                                    : std::vector<std::int64_t>());
  std::size_t compared = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto rule = map.rule(parameters[i].first);
    const auto theirs = rule ? find_theirs(expected, *rule) : std::nullopt;
    if (!theirs) continue;
    const at::Tensor want = read_rule(expected, *theirs, rule->op, leaves[i].sizes());
    ASSERT_TRUE(gradients[i].defined()) << parameters[i].first;
    const double off = (gradients[i] - want).norm().item<double>() / (want.norm().item<double>() + 0.2);
    EXPECT_LT(off, 1e-4) << name << " " << parameters[i].first;
    worst_gradient = std::max(worst_gradient, off);
    compared += theirs->size();
  }
  for (const std::string& key : expected.names())
    if (map.ignored(key)) ++compared;
  EXPECT_EQ(compared, expected.names().size()) << name;
  std::printf("%s: outputs %.1e, gradients %.1e\n", name.c_str(), worst_output, worst_gradient);
}

std::map<std::string, at::Tensor> both(DualEncoder& model, const std::string& name) {
  return {{"image", model.encode_image(golden(name).load("input.image"))},
          {"text", model.encode_text(golden(name).load("input.tokens"))}};
}

TEST(Families, OpenClipWithQuickGeluAndOddSizes) {
  jobs::ModelSpec spec = testing::small_model_spec(8);
  spec.image.image_px = 42;
  spec.image.patch_px = 14;
  spec.image.width = 24;
  spec.image.heads = spec.image.layers = 3;
  spec.image.quick_gelu = spec.text.quick_gelu = true;
  spec.text.width = 40;
  spec.text.heads = 5;
  spec.text.context = 11;
  spec.embed_dim = 20;
  spec.init_from = part_of("open_clip_quick", "weight.");
  for (const bool checkpointing : {false, true})
    compare("open_clip_quick", spec, checkpointing,
            [](DualEncoder& model) { return both(model, "open_clip_quick"); });
}

TEST(Families, HfClip) {
  jobs::ModelSpec spec = testing::small_model_spec(8);
  spec.image.image_px = 30;
  spec.image.patch_px = 10;
  spec.image.width = 32;
  spec.image.heads = 4;
  spec.image.layers = spec.text.layers = 2;
  spec.text.width = 24;
  spec.text.heads = 3;
  spec.text.context = 9;
  spec.embed_dim = 12;
  spec.init_from = part_of("hf_clip", "weight.");
  compare("hf_clip", spec, false, [](DualEncoder& model) { return both(model, "hf_clip"); });
}

TEST(Families, HfAlign) {
  jobs::ModelSpec spec = testing::small_model_spec(8);
  spec.image.kind = jobs::ImageTowerKind::kEfficientNetB0;
  spec.image.width_factor = 0.1;
  spec.image.depth_factor = 0.6;
  spec.image.image_px = 69;
  spec.image.projection = jobs::ProjectionKind::kNone;
  spec.text.kind = jobs::TextTowerKind::kBert;
  spec.text.pooling = jobs::TextPooling::kCls;
  spec.text.positions = 16;
  spec.text.width = 24;
  spec.text.heads = 3;
  spec.text.layers = 2;
  spec.embed_dim = 32;
  spec.init_from = part_of("hf_align", "weight.");
  for (const bool checkpointing : {false, true})
    compare("hf_align", spec, checkpointing, [](DualEncoder& model) { return both(model, "hf_align"); });
  EXPECT_NEAR(DualEncoder(spec, 1).logit_scale().item<double>(), -std::log(0.37), 1e-6);
}

TEST(Families, HfBertWithEachPooling) {
  jobs::ModelSpec spec = testing::small_model_spec(8);
  spec.text.kind = jobs::TextTowerKind::kBert;
  spec.text.positions = 13;
  spec.text.width = 20;
  spec.text.heads = 5;
  spec.text.layers = 3;
  spec.text.tokenizer.kind = jobs::TokenizerKind::kHashedWords;
  spec.text.weights = part_of("hf_bert", "weight.");
  const at::Tensor tokens = golden("hf_bert").load("input.tokens");
  double worst_output = 0, worst_gradient = 0;
  for (const std::string pooling : {"mean", "cls", "pooler"}) {
    spec.text.pooling = *from_name<jobs::TextPooling>(pooling);
    DualEncoder model(spec, 1);
    const double off = relative(model.text_features(tokens), golden("hf_bert").load("output." + pooling));
    EXPECT_LT(off, 1e-5) << pooling;
    worst_output = std::max(worst_output, off);
  }
  std::map<std::string, at::Tensor> total;  // the golden gradient is that of the three outputs together
  for (const std::string pooling : {"mean", "cls", "pooler"}) {
    spec.text.pooling = *from_name<jobs::TextPooling>(pooling);
    DualEncoder one(spec, 1);
    (one.text_features(tokens) * golden("hf_bert").load("direction." + pooling)).sum().backward();
    for (const auto& [name, tensor] : one.trainable_parameters())
      if (tensor.grad().defined())
        total[name] = total.count(name) > 0 ? total[name] + tensor.grad() : tensor.grad();
  }
  const checkpoint::SafetensorsFile expected(part_of("hf_bert", "gradient."));
  EXPECT_EQ(total.size(), expected.names().size());
  for (const auto& [name, gradient] : total) {
    const at::Tensor want = expected.load(name.substr(5));  // without "text."
    const double off = (gradient - want).norm().item<double>() / (want.norm().item<double>() + 0.2);
    EXPECT_LT(off, 1e-4) << name;
    worst_gradient = std::max(worst_gradient, off);
  }
  std::printf("hf_bert: outputs %.1e, gradients %.1e\n", worst_output, worst_gradient);
}

TEST(Families, VisionTowersOfBlipAndTimm) {
  jobs::ModelSpec spec = testing::small_model_spec(8);
  spec.image.ln_pre = false;
  spec.image.patch_bias = true;
  spec.image.layer_norm_epsilon = 1e-6;
  spec.image.width = 24;
  spec.image.heads = 3;
  spec.image.layers = 2;
  for (const auto& [name, image_px, patch_px] : {std::tuple{"hf_blip", 32, 16}, {"timm_vit", 24, 8}}) {
    spec.image.image_px = image_px;
    spec.image.patch_px = patch_px;
    spec.image.weights = part_of(name, "weight.");
    compare(name, spec, false, [&](DualEncoder& model) {
      return std::map<std::string, at::Tensor>{
          {"image", model.image_features(golden(name).load("input.image"))}};
    });
  }
}

TEST(Families, TimmEfficientNets) {
  jobs::ModelSpec spec = testing::small_model_spec(8);
  spec.image.image_px = 45;
  spec.image.depth_factor = 0.5;
  for (const auto& [name, kind, width] :
       {std::tuple{"timm_b0", "efficientnet_b0", 0.3}, {"timm_lite0", "efficientnet_lite0", 0.1}}) {
    const bool lite = std::string(name) == "timm_lite0";
    spec.image.kind = *from_name<jobs::ImageTowerKind>(kind);
    spec.image.width_factor = width;
    spec.image.head_conv = true;
    spec.image.padding = lite ? jobs::PaddingKind::kSame : jobs::PaddingKind::kSymmetric;
    spec.image.batch_norm.epsilon = lite ? 1e-3 : 1e-5;
    spec.image.weights = part_of(name, "weight.");
    compare(name, spec, false, [&](DualEncoder& model) {
      return std::map<std::string, at::Tensor>{
          {"image", model.image_features(golden(name).load("input.image"))}};
    });
  }
}

TEST(Families, PositionsOfAnotherResolution) {
  const auto& file = golden("positions");
  for (const auto& [key, side] : {std::pair{"up", 5}, {"down", 2}})
    for (const bool corners : {false, true})
      EXPECT_LT(relative(resize_positions(file.load("before"), side, corners),
                         file.load(std::string(corners ? "align_corners." : "antialias.") + key)),
                1e-6)
          << key << corners;
  jobs::ModelSpec spec = testing::small_model_spec(8);
  DualEncoder small(spec, 1);
  small.save(scratch("small").string(), "");
  spec.image.image_px = 32;
  spec.image.weights = scratch("small").string();
  DualEncoder large(spec, 2);
  const at::Tensor image = at::randn({1, 3, 32, 32});
  EXPECT_TRUE(large.image_features(image).isfinite().all().item<bool>());
  spec.image.width = 16;  // another model: not a matter of resolution
  EXPECT_THROW(DualEncoder(spec, 2), Error);
}

TEST(Families, LogitsOfEfficientNetLite0) {
  std::string path;
  try {
    path = jobs::resolve_weights("pretrained:efficientnet-lite0");
  } catch (const Error&) {
    GTEST_SKIP() << "published weights are not installed: run ./quickstart build";
  }
  jobs::ModelSpec spec = testing::small_model_spec(8);
  spec.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
  spec.image.image_px = 224;
  spec.image.weights = path;
  DualEncoder model(spec, 1);
  const at::Tensor at_px = at::arange(224, at::kDouble);
  const at::Tensor phase = 0.01 * (3 * at_px.view({1, 1, 224, 1}) + 5 * at_px.view({1, 1, 1, 224}));
  const at::Tensor image = at::sin(phase + 0.7 * at::arange(3, at::kDouble).view({1, 3, 1, 1}) +
                                   at::arange(2, at::kDouble).view({2, 1, 1, 1}))
                               .to(at::kFloat);
  const checkpoint::SafetensorsFile file{io::Path(path)};
  const at::Tensor logits =
      at::linear(model.image_features(image), file.load("_fc.weight"), file.load("_fc.bias"));
  EXPECT_LT(relative(logits, golden("lite0_logits").load("logits")), 1e-4);
}

}  // namespace
}  // namespace trireme::worker::models
