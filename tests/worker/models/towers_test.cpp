// Sizes, options and training-time behaviour of the towers.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "common/base/error.h"
#include "jobs/specification/model_defaults.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/towers/efficientnet_shape.h"
#include "worker/models/towers/towers.h"
#include "worker/models/weights/name_patterns.h"
#include "worker/nn/convolution.h"

namespace trireme::worker::models {
namespace {

std::int64_t parameters(const nn::ParameterSet& set) {
  std::int64_t count = 0;
  for (const auto& entry : set.entries()) count += entry.buffer ? 0 : entry.tensor.numel();
  return count;
}

jobs::ImageTowerSpec image_spec(const std::string& kind) {
  jobs::ModelSpec spec;
  spec.image.kind = *from_name<jobs::ImageTowerKind>(kind);
  jobs::resolve_model_defaults(spec);
  return spec.image;
}

TEST(ParameterCounts, EfficientNetTrunks) {  // METHODS 4.3; nothing is written, so L2 costs no memory
  for (const auto& [kind, count] : {std::pair{"b0", 3595388L},
                                    {"b1", 6101024L},
                                    {"b2", 7202562L},
                                    {"b3", 10103336L},
                                    {"b4", 16742216L},
                                    {"b5", 27288112L},
                                    {"b6", 39403992L},
                                    {"b7", 62143440L},
                                    {"l2", 467219796L}}) {
    nn::ParameterSet set(0);
    make_efficientnet(image_spec(std::string("efficientnet_") + kind), set);
    EXPECT_EQ(parameters(set), count) << kind;
  }
  const EfficientNetShape b7 = efficientnet_shape(image_spec("efficientnet_b7"));
  EXPECT_EQ(b7.repeats, (std::vector<std::int64_t>{4, 7, 7, 10, 10, 13, 4}));
  EXPECT_EQ(b7.width(), 640);
  const EfficientNetShape l2 = efficientnet_shape(image_spec("efficientnet_l2"));
  EXPECT_EQ(l2.stem, 136);
  EXPECT_EQ(l2.width(), 1376);
  EXPECT_EQ(l2.blocks.size(), 88u);
}

TEST(ParameterCounts, BertFamily) {  // METHODS 4.3
  for (const auto& [layers, width, vocabulary, count] : {std::tuple{4, 256, 30522, 11170560L},
                                                         {4, 512, 30522, 28763648L},
                                                         {8, 512, 30522, 41373184L},
                                                         {12, 768, 30522, 108891648L + 590592L},
                                                         {24, 1024, 30522, 335141888L},
                                                         {4, 256, 100000, 28956928L},
                                                         {12, 768, 250000, 278041344L},
                                                         {24, 1024, 250000, 559887360L}}) {
    jobs::TextTowerSpec spec;
    spec.kind = jobs::TextTowerKind::kBert;
    spec.pooling = jobs::TextPooling::kPooler;  // the published counts have it
    spec.layers = layers;
    spec.width = width;
    spec.heads = width / 64;
    nn::ParameterSet set(0);
    make_bert(spec, vocabulary, 0, set);
    EXPECT_EQ(parameters(set), count) << layers << " " << width << " " << vocabulary;
  }
}

TEST(ParameterCounts, ClipAndAlign) {  // METHODS 4.1, 4.3
  for (const auto& [patch, width, layers, heads, side, text_width, embed, count] :
       {std::tuple{32, 768, 12, 12, 224, 512, 512, 151277313L},
        {16, 768, 12, 12, 224, 512, 512, 149620737L},
        {14, 1024, 24, 16, 224, 768, 768, 427616513L},
        {14, 1024, 24, 16, 336, 768, 768, 427944193L}}) {
    jobs::ModelSpec spec;
    spec.image.patch_px = patch;
    spec.image.width = width;
    spec.image.layers = layers;
    spec.image.heads = heads;
    spec.image.image_px = side;
    spec.text.width = text_width;
    spec.text.heads = text_width / 64;
    nn::ParameterSet set(0);
    make_vision_transformer(spec.image, set);
    make_text_transformer(spec.text, {49408, 49407, 0}, set);
    EXPECT_EQ(parameters(set) + width * embed + text_width * embed + 1, count) << patch << " " << side;
  }
  nn::ParameterSet set(0);
  make_efficientnet(image_spec("efficientnet_b7"), set);
  jobs::TextTowerSpec bert;
  bert.kind = jobs::TextTowerKind::kBert;
  bert.pooling = jobs::TextPooling::kPooler;
  bert.width = 768;
  bert.heads = 12;
  make_bert(bert, 30522, 0, set);
  EXPECT_EQ(parameters(set) + 768 * 640 + 640 + 1, 172117841);
}

TEST(Padding, MapSizesOfAlign) {  // METHODS 4.3
  const EfficientNetShape shape = efficientnet_shape(image_spec("efficientnet_b7"));
  const auto last = [&](std::int64_t side, nn::Padding padding) {
    side = nn::side_after(padding, side, 3, 2);
    for (const auto& block : shape.blocks) side = nn::side_after(padding, side, block.kernel, block.stride);
    return side;
  };
  EXPECT_EQ(nn::side_after(nn::Padding::kAsymmetric, 289, 3, 2), 144);
  EXPECT_EQ(last(289, nn::Padding::kAsymmetric), 9);
  EXPECT_EQ(last(289, nn::Padding::kSymmetric), 10);
  EXPECT_EQ(last(289, nn::Padding::kSame), 10);
  EXPECT_EQ(last(360, nn::Padding::kAsymmetric), 11);
  EXPECT_EQ(last(475, nn::Padding::kAsymmetric), 14);
  EXPECT_EQ(last(600, nn::Padding::kAsymmetric), 18);
}

TEST(NamePatterns, LastMatchDecides) {
  EXPECT_EQ(named_by({"v.*", "!v.11.*", "v.11.x"}, {"v.1.x", "v.11.x", "v.11.y", "t.1"}),
            (std::vector<bool>{true, true, false, false}));
  EXPECT_THROW(named_by({"w.*"}, {"v.1"}), Error);
}

jobs::ModelSpec tiny(const std::string& kind) {
  jobs::ModelSpec spec;
  spec.image.kind = *from_name<jobs::ImageTowerKind>(kind);
  spec.image.image_px = 32;
  spec.image.patch_px = 8;
  spec.image.width = spec.text.width = 16;
  spec.image.layers = spec.text.layers = 3;
  spec.image.heads = spec.text.heads = 2;
  if (kind != "vit") {
    spec.image.width_factor = 0.1;
    spec.image.depth_factor = 0.5;
  }
  spec.text.context = 12;
  spec.text.tokenizer.buckets = 64;
  spec.embed_dim = 16;
  return spec;
}

nn::ForwardContext training(std::int64_t step, nn::BatchStatistics* statistics = nullptr) {
  return {true, 7, step, 3, 0, statistics};
}

TEST(PatchDropout, KeepsAShareInTrainingAlone) {
  jobs::ModelSpec spec = tiny("vit");
  const at::Tensor image = at::randn({4, 3, 32, 32});
  DualEncoder plain(spec, 1);
  spec.image.patch_dropout = 0.5;
  DualEncoder model(spec, 1);
  EXPECT_TRUE(at::equal(model.image_features(image), plain.image_features(image)));
  const at::Tensor once = model.image_features(image, training(0));
  EXPECT_TRUE(at::equal(once, model.image_features(image, training(0))));
  EXPECT_FALSE(at::equal(once, model.image_features(image, training(1))));
  EXPECT_FALSE(at::equal(once, plain.image_features(image)));
  // Rows that come in two calls draw what they draw in one.
  const at::Tensor whole = model.image_features(image, training(0));
  nn::ForwardContext second = training(0);
  second.first_row = 2;
  const at::Tensor parts = at::cat({model.image_features(image.slice(0, 0, 2), training(0)),
                                    model.image_features(image.slice(0, 2), second)});
  EXPECT_LT((whole - parts).abs().max().item<double>(), 1e-5);
  const at::Tensor kept = nn::kept_patches(1000, 16, 0.5, training(0));
  EXPECT_EQ(kept.sizes(), (at::IntArrayRef{1000, 8}));
  EXPECT_TRUE((kept.slice(1, 1) > kept.slice(1, 0, 7)).all().item<bool>());  // ascending, so distinct
  const at::Tensor counts = at::bincount(kept.reshape(-1), {}, 16);
  EXPECT_GT(counts.min().item<std::int64_t>(), 430);  // each about 500
  EXPECT_EQ(nn::kept_patches(1, 5, 0.95, training(0)).size(1), 1);
}

TEST(StochasticDepth, SkipsTheGivenShare) {
  const at::Tensor x = at::ones({10000, 2});
  const at::Tensor y = nn::stochastic_depth(x, 0.25, training(0), "layer");
  EXPECT_NEAR((y == 0).to(at::kFloat).mean().item<double>(), 0.25, 0.015);
  EXPECT_NEAR(y.max().item<double>(), 1 / 0.75, 1e-6);
  EXPECT_TRUE(at::equal(y.select(1, 0), y.select(1, 1)));
  EXPECT_TRUE(at::equal(nn::stochastic_depth(x, 0.25, {}, "layer"), x));
  for (const char* kind : {"vit", "efficientnet_b0"}) {
    jobs::ModelSpec spec = tiny(kind);
    spec.image.batch_norm.policy = jobs::BatchNormPolicy::kStored;
    const at::Tensor image = at::randn({8, 3, 32, 32});
    spec.image.stochastic_depth = 0.5;
    DualEncoder model(spec, 1);
    EXPECT_FALSE(at::equal(model.image_features(image, training(0)), model.image_features(image)));
    EXPECT_TRUE(
        at::equal(model.image_features(image, training(5)), model.image_features(image, training(5))));
  }
}

TEST(GradientCheckpointing, SameNumbersWithDraws) {
  for (const auto& [kind, bf16] : {std::pair{"vit", false}, {"vit", true}, {"efficientnet_b0", false}}) {
    jobs::ModelSpec spec = tiny(kind);
    spec.image.stochastic_depth = 0.5;
    spec.image.patch_dropout = kind == std::string("vit") ? 0.3 : 0;
    const at::Tensor image = at::randn({6, 3, 32, 32}), tokens = at::randint(3, 60, {6, 7}, at::kLong);
    std::vector<std::vector<at::Tensor>> gradients;
    std::vector<at::Tensor> outputs, numbers;
    for (const bool on : {false, true}) {
      spec.image.gradient_checkpointing = spec.text.gradient_checkpointing = on;
      DualEncoder model(spec, 1);
      std::vector<at::Tensor> leaves;
      for (const auto& [name, tensor] : model.trainable_parameters())
        if (name != "logit_scale") leaves.push_back(tensor);
      nn::BatchStatistics statistics(std::max<std::int64_t>(model.norm_channels(), 1));
      at::autocast::set_autocast_enabled(at::kCPU, bf16);
      at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
      const at::Tensor x = model.project_image(
          model.image_features(image, training(2, model.norm_channels() > 0 ? &statistics : nullptr)));
      const at::Tensor loss = (x * model.project_text(model.text_features(tokens, training(2)))).sum();
      at::autocast::set_autocast_enabled(at::kCPU, false);
      outputs.push_back(x.detach());
      gradients.push_back(torch::autograd::grad({loss}, leaves));
      numbers.push_back(statistics.numbers());
      at::autocast::clear_cache();
    }
    EXPECT_TRUE(at::equal(outputs[0], outputs[1])) << kind;
    EXPECT_TRUE(at::equal(numbers[0], numbers[1])) << kind;  // counted once
    for (std::size_t i = 0; i < gradients[0].size(); ++i)
      EXPECT_LT((gradients[0][i] - gradients[1][i]).norm().item<double>(),
                (bf16 ? 1e-3 : 1e-6) * gradients[0][i].norm().item<double>() + 1e-9)
          << kind << bf16 << i;
  }
}

// One norm written out in float64: groups of 4, 4 and 2 rows, each on its own statistics.
TEST(BatchNorm, GhostGroupsAndWhatTheyReport) {
  nn::ParameterSet set(1);
  nn::ConvNorm layer = nn::make_conv_norm(set, "conv", "norm", 2, 3, 1, 1, 1);
  set.draw();
  layer.weight.set_requires_grad(true);
  layer.norm = {nn::NormPolicy::kGhost, 4, 1e-3};
  nn::BatchStatistics statistics(3);
  const at::Tensor x = at::randn({10, 2, 5, 5});
  const at::Tensor y = layer.forward(x, training(0, &statistics));
  const at::Tensor plain = at::conv2d(x.to(at::kDouble), layer.kernel.to(at::kDouble));
  at::Tensor mean_sum = at::zeros({3}, at::kDouble), variance_sum = at::zeros({3}, at::kDouble);
  for (std::int64_t first = 0; first < 10; first += 4) {
    const at::Tensor part = plain.slice(0, first, std::min<std::int64_t>(10, first + 4));
    const at::Tensor mean = part.mean(at::IntArrayRef{0, 2, 3}, true);
    const at::Tensor variance = part.var(at::IntArrayRef{0, 2, 3}, false, true);
    const at::Tensor expected = (part - mean) / (variance + 1e-3).sqrt();
    EXPECT_LT((y.slice(0, first, first + part.size(0)) - expected).abs().max().item<double>(), 1e-5);
    mean_sum += mean.view(-1);
    variance_sum += part.var(at::IntArrayRef{0, 2, 3}, true, true).view(-1);
  }
  EXPECT_LT((statistics.numbers().slice(0, 0, 3) - mean_sum).abs().max().item<double>(), 1e-5);
  EXPECT_LT((statistics.numbers().slice(0, 3, 6) - variance_sum).abs().max().item<double>(), 1e-4);
  // A scale that is not trained keeps its statistics.
  layer.weight.set_requires_grad(false);
  EXPECT_TRUE(at::equal(layer.forward(x, training(0)), layer.forward(x, {})));
}

TEST(BatchNorm, StoredStatisticsMoveByTheMomentum) {
  at::manual_seed(1);
  jobs::ModelSpec spec = tiny("efficientnet_b0");
  spec.image.batch_norm = {jobs::BatchNormPolicy::kBatch, 16, 0.25, 1e-3};
  DualEncoder model(spec, 1);
  ASSERT_GT(model.norm_channels(), 0);
  nn::BatchStatistics one(model.norm_channels());
  const at::Tensor image = at::randn({16, 3, 64, 64}) + 2;
  model.image_features(image, training(0, &one));
  model.absorb_norm_statistics(one.numbers() * 2);  // two slots that saw the same
  const auto buffers = model.moving_buffers();
  ASSERT_EQ(buffers.front().first, "visual._bn0.running_mean");
  const at::Tensor stem = buffers.front().second;
  EXPECT_LT((stem - 0.25 * one.numbers().slice(0, 0, stem.numel())).abs().max().item<double>(), 1e-6);
  EXPECT_EQ(one.numbers()[2 * model.norm_channels()].item<double>(), 1);
  // Enough such steps, and evaluation sees what training saw, but for the n - 1 of the variances.
  for (int i = 0; i < 60; ++i) {
    nn::BatchStatistics again(model.norm_channels());
    model.image_features(image, training(0, &again));
    model.absorb_norm_statistics(again.numbers());
  }
  const at::Tensor train = model.image_features(image, training(0)), evaluate = model.image_features(image);
  EXPECT_GT(at::cosine_similarity(train, evaluate, 1).min().item<double>(), 0.95);
  spec.freeze = {"visual.*"};
  EXPECT_EQ(DualEncoder(spec, 1).norm_channels(), 0);  // locked, statistics too
}

TEST(Freezing, PatternsLockTensorsAndTheRestTrains) {
  jobs::ModelSpec spec = tiny("vit");
  spec.freeze = {"visual.*", "!visual.transformer.resblocks.2.*", "logit_scale"};
  DualEncoder model(spec, 1);
  for (const auto& [name, tensor] : model.state()) {
    const bool locked = name == "logit_scale" ||
                        (name.starts_with("visual.") && !name.starts_with("visual.transformer.resblocks.2."));
    EXPECT_EQ(tensor.requires_grad(), !locked) << name;
  }
}

TEST(AnyPair, EveryImageTowerWithEveryTextTower) {
  for (const std::string image : {"vit", "efficientnet_b0", "efficientnet_lite0"})
    for (const std::string text : {"transformer", "bert"})
      for (const std::string projection : {"matrix", "linear", "none"}) {
        jobs::ModelSpec spec = tiny(image);
        spec.text.kind = *from_name<jobs::TextTowerKind>(text);
        spec.text.projection = *from_name<jobs::ProjectionKind>(projection);
        spec.image.projection = jobs::ProjectionKind::kLinear;
        DualEncoder model(spec, 1);
        const at::Tensor x = model.encode_image(at::randn({2, 3, 32, 32}));
        const at::Tensor y = model.encode_text(at::tensor({1, 9, 2, 1, 8, 2}, at::kLong).view({2, 3}));
        EXPECT_EQ(x.sizes(), y.sizes()) << image << text << projection;
        EXPECT_NEAR(y.norm(2, {1}).max().item<double>(), 1, 1e-6);
      }
}

}  // namespace
}  // namespace trireme::worker::models
