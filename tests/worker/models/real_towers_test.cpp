// EfficientNet-Lite0 and MiniLM with their published weights against Python's outputs
// (tests/oracles/record_models.py).
#include <gtest/gtest.h>
#include <cstdio>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "jobs/store/published.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::models {
namespace {

jobs::ModelSpec real_spec() {
  jobs::ModelSpec spec;
  spec.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
  spec.image.weights = "pretrained:efficientnet-lite0";
  spec.text.kind = jobs::TextTowerKind::kBert;
  spec.text.weights = "pretrained:minilm";
  spec.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
  spec.text.tokenizer.vocabulary = "pretrained:minilm";
  spec.text.width = 384;
  spec.text.layers = 6;
  spec.text.heads = 12;
  spec.image.frozen = spec.text.frozen = true;
  spec.embed_dim = 256;
  return spec;
}

bool installed() {
  try {
    jobs::resolve_weights("pretrained:efficientnet-lite0");
    jobs::resolve_weights("pretrained:minilm");
    return true;
  } catch (const Error&) {
    return false;
  }
}

// sin(0.01 (3 y + 5 x) + 0.7 channel + sample), as the oracle makes it.
at::Tensor wave(std::int64_t batch, std::int64_t size) {
  const at::Tensor at_px = at::arange(size, at::kDouble);
  const at::Tensor phase = 0.01 * (3 * at_px.view({1, 1, size, 1}) + 5 * at_px.view({1, 1, 1, size}));
  return at::sin(phase + 0.7 * at::arange(3, at::kDouble).view({1, 3, 1, 1}) +
                 at::arange(batch, at::kDouble).view({batch, 1, 1, 1}))
      .to(at::kFloat);
}

double relative(const at::Tensor& found, const at::Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}

TEST(RealTowers, EqualTheirPythonOutputs) {
  if (!installed()) GTEST_SKIP() << "published weights are not installed: run ./quickstart build";
  DualEncoder model(real_spec(), 0);
  const checkpoint::SafetensorsFile golden(std::string(TRIREME_SOURCE_DIR) +
                                           "/tests/golden/real_towers.safetensors");
  EXPECT_EQ(model.image_tower_width(), 1280);
  EXPECT_EQ(model.text_tower_width(), 384);
  const double image_off = relative(model.image_features(wave(2, 224)), golden.load("image"));
  EXPECT_LT(image_off, 1e-4);
  const TokenBatch batch = tokenize(
      model.tokenizer(), {"a woman sitting on the beach with her dog", "Two men.", "naïve café — 東京!"}, 77);
  EXPECT_TRUE(at::equal(batch.tokens_NL, golden.load("tokens")));
  const double text_off = relative(model.text_features(batch.tokens_NL), golden.load("text"));
  EXPECT_LT(text_off, 1e-4);
  std::printf("efficientnet-lite0: outputs %.1e; minilm: outputs %.1e\n", image_off, text_off);
  EXPECT_EQ(model.image_preprocess().resize_px, 256);
  EXPECT_EQ(model.image_preprocess().mean[0], 0.5f);
  EXPECT_EQ(model.trainable_parameters().size(), 5u);
}

TEST(RealTowers, UnfrozenTowersHaveGradients) {
  if (!installed()) GTEST_SKIP() << "published weights are not installed: run ./quickstart build";
  jobs::ModelSpec spec = real_spec();
  spec.image.frozen = spec.text.frozen = false;
  DualEncoder model(spec, 0);
  const at::Tensor loss =
      model.encode_image(wave(1, 64)).sum() + model.encode_text(at::ones({1, 4}, at::kLong)).sum();
  loss.backward();
  // The second token type is never looked up but its table still gets a (zero) gradient; only the temperature
  // takes no part here.
  for (const auto& [name, tensor] : model.trainable_parameters())
    EXPECT_EQ(tensor.grad().defined(), name != "logit_scale") << name;
}

TEST(RealTowers, WrongShapesAndHeadsAreNamed) {
  if (!installed()) GTEST_SKIP() << "published weights are not installed: run ./quickstart build";
  jobs::ModelSpec spec = real_spec();
  spec.text.heads = 6;
  try {
    DualEncoder model(spec, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("12"), std::string::npos) << error.what();
  }
  spec = real_spec();
  spec.text.layers = 5;  // surplus tensors in the file
  EXPECT_THROW(DualEncoder(spec, 0), Error);
  spec = real_spec();
  spec.image.weights = "pretrained:minilm";
  EXPECT_THROW(DualEncoder(spec, 0), Error);
}

}  // namespace
}  // namespace trireme::worker::models
