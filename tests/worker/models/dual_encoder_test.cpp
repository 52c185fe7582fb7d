#include "worker/models/dual_encoder.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <filesystem>
#include <set>
#include <thread>

#include "common/base/error.h"
#include "jobs/store/published.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::models {
namespace {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
const std::string kSource = TRIREME_SOURCE_DIR;

jobs::ModelSpec tiny_spec() {
  jobs::ModelSpec spec;
  spec.image.image_px = 32;
  spec.image.patch_px = 8;
  spec.image.width = spec.text.width = 32;
  spec.image.layers = spec.text.layers = 2;
  spec.image.heads = spec.text.heads = 2;
  spec.text.context = 12;
  spec.text.tokenizer.buckets = 64;
  spec.embed_dim = 16;
  return spec;
}

double relative(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor a = found.to(at::kDouble), b = expected.to(at::kDouble);
  return ((a - b).norm() / b.norm().clamp_min(1e-12)).item<double>();
}

at::Tensor info_nce(const at::Tensor& image, const at::Tensor& text, const at::Tensor& scale) {
  const at::Tensor logits = scale.exp() * image.matmul(text.t());
  const at::Tensor target = at::arange(logits.size(0), at::kLong);
  return (at::cross_entropy_loss(logits, target) + at::cross_entropy_loss(logits.t(), target)) / 2;
}

std::vector<at::Tensor> values(const NamedTensors& named) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  return tensors;
}

// Embeddings, loss and every gradient of open_clip for the same weights (tests/oracles/record_models.py).
TEST(DualEncoder, EqualsOpenClipForwardAndBackward) {
  const checkpoint::SafetensorsFile golden(kSource + "/tests/golden/tiny_clip.safetensors");
  DualEncoder model(tiny_spec(), 3);
  NamedTensors weights;
  std::set<std::string> names;
  for (const std::string& name : golden.names())
    if (name.rfind("weight.", 0) == 0) weights.emplace_back(name.substr(7), golden.load(name));
  model.load_state(weights);
  const at::Tensor image = model.encode_image(golden.load("input.image"));
  const at::Tensor text = model.encode_text(golden.load("input.tokens"));
  EXPECT_LT(relative(image.detach(), golden.load("output.image")), 1e-5);
  EXPECT_LT(relative(text.detach(), golden.load("output.text")), 1e-5);
  const at::Tensor loss = info_nce(image, text, model.logit_scale());
  EXPECT_NEAR(loss.item<double>(), golden.load("output.loss").item<double>(), 1e-5);
  const NamedTensors parameters = model.trainable_parameters();
  const auto gradients = torch::autograd::grad({loss}, values(parameters));
  EXPECT_EQ(parameters.size(), weights.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor expected = golden.load("gradient." + parameters[i].first);
    // A key's bias shifts all logits of a softmax alike: its true gradient is 0, so absolute there.
    const double distance = (gradients[i] - expected).norm().item<double>();
    EXPECT_LT(distance, 1e-4 * expected.norm().item<double>() + 1e-6) << parameters[i].first;
  }
}

TEST(DualEncoder, InitialisationFollowsOpenClip) {
  jobs::ModelSpec spec = tiny_spec();
  spec.image.width = spec.text.width = 128;
  DualEncoder model(spec, 5), again(spec, 5), other(spec, 6);
  const NamedTensors state = model.state(), same = again.state(), different = other.state();
  const std::vector<std::pair<std::string, double>> deviations{
      {"token_embedding.weight", 0.02},
      {"positional_embedding", 0.01},
      {"transformer.resblocks.0.attn.in_proj_weight", 0.0884},
      {"transformer.resblocks.1.attn.out_proj.weight", 0.0442},
      {"transformer.resblocks.0.mlp.c_fc.weight", 0.0625},
      {"transformer.resblocks.0.mlp.c_proj.weight", 0.0442},
      {"text_projection", 0.0884},
      {"visual.proj", 0.0884},
      {"visual.transformer.resblocks.0.attn.in_proj_weight", 0.0625},  // xavier: sqrt(2 / (128 + 384))
      {"visual.transformer.resblocks.0.mlp.c_proj.weight", 0.0255}};   // 512^-0.5 / sqrt(3)
  std::size_t checked = 0;
  for (std::size_t i = 0; i < state.size(); ++i) {
    EXPECT_TRUE(at::equal(state[i].second, same[i].second)) << state[i].first;
    for (const auto& [name, deviation] : deviations)
      if (state[i].first == name) {
        EXPECT_NEAR(state[i].second.std().item<double>(), deviation, 0.05 * deviation) << name;
        EXPECT_FALSE(at::equal(state[i].second, different[i].second)) << name;
        ++checked;
      }
  }
  EXPECT_EQ(checked, deviations.size());
}

TEST(DualEncoder, TextDependsNeitherOnPaddingNorOnWhatFollowsTheEnd) {
  DualEncoder model(tiny_spec(), 1);
  const at::Tensor exact = at::tensor({1, 9, 8, 2}, at::kLong).view({1, 4});
  const at::Tensor padded = at::tensor({1, 9, 8, 2, 0, 0}, at::kLong).view({1, 6});
  const at::Tensor noise = at::tensor({1, 9, 8, 2, 50, 2}, at::kLong).view({1, 6});
  const at::Tensor reference = model.encode_text(exact).detach();
  EXPECT_LT(relative(model.encode_text(padded).detach(), reference), 1e-6);
  EXPECT_LT(relative(model.encode_text(noise).detach(), reference), 1e-6);
  EXPECT_THROW(model.encode_text(at::ones({1, 13}, at::kLong)), Error);
  EXPECT_THROW(model.encode_image(at::ones({1, 3, 31, 32})), Error);
}

// Threads that share one model get the gradients that one thread alone gets, bit for bit.
TEST(DualEncoder, ConcurrentSlotsGiveTheSameGradients) {
  DualEncoder model(tiny_spec(), 1);
  const at::Tensor images = at::randn({4, 3, 32, 32});
  const at::Tensor tokens =
      at::tensor({1, 9, 8, 2, 1, 5, 2, 0, 1, 7, 7, 2, 1, 3, 2, 0}, at::kLong).view({4, 4});
  const std::vector<at::Tensor> parameters = values(model.trainable_parameters());
  const auto slot = [&](bool bfloat16) {
    at::autocast::set_autocast_enabled(at::kCPU, bfloat16);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    const at::Tensor loss =
        info_nce(model.encode_image(images), model.encode_text(tokens), model.logit_scale());
    at::autocast::set_autocast_enabled(at::kCPU, false);
    EXPECT_EQ(loss.scalar_type(), at::kFloat);
    auto gradients = torch::autograd::grad({loss}, parameters);
    at::autocast::clear_cache();
    return gradients;
  };
  for (const bool bfloat16 : {false, true}) {
    const auto alone = slot(bfloat16);
    std::vector<std::vector<at::Tensor>> together(4);
    std::vector<std::thread> threads;
    for (auto& result : together)
      threads.emplace_back([&result, &slot, bfloat16] { result = slot(bfloat16); });
    for (std::thread& thread : threads) thread.join();
    for (const auto& result : together)
      for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(at::equal(result[i], alone[i])) << i;
  }
}

TEST(DualEncoder, FrozenTowersTrainTheirProjectionsOnly) {
  jobs::ModelSpec spec = tiny_spec();
  spec.image.frozen = spec.text.frozen = true;
  DualEncoder model(spec, 1);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.trainable_parameters()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"visual.proj", "text_projection", "logit_scale"}));
  EXPECT_FALSE(model.image_features(at::randn({1, 3, 32, 32})).requires_grad());
  EXPECT_GT(model.state().size(), names.size());
}

TEST(DualEncoder, StandardisationIsAppliedAndKept) {
  DualEncoder model(tiny_spec(), 1), other(tiny_spec(), 2);
  const at::Tensor features = at::randn({3, 32}), mean = at::randn({32}), scale = at::rand({32}) + 0.5;
  const at::Tensor expected = model.project_image((features - mean) * scale).detach();
  model.set_image_standardization(mean, scale);
  EXPECT_LT(relative(model.project_image(features).detach(), expected), 1e-6);
  other.load_state(model.state());
  EXPECT_TRUE(at::equal(other.project_image(features), model.project_image(features)));
  EXPECT_NEAR(expected.norm(2, {1}).min().item<double>(), 1, 1e-6);
  EXPECT_THROW(model.set_text_standardization(at::ones({31}), at::ones({31})), Error);
}

TEST(DualEncoder, FaultsOfAStateAreListedAtOnce) {
  DualEncoder model(tiny_spec(), 1);
  NamedTensors state = model.state();
  state[0].first = "visual.class_embeding";
  state[1].second = at::ones({2, 2});
  state.pop_back();
  try {
    model.load_state(state);
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(text.find("missing: visual.class_embedding (nearest in the file: visual.class_embeding)"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("surplus: visual.class_embeding"), std::string::npos) << text;
    EXPECT_NE(text.find("shape: visual.positional_embedding is [2, 2]"), std::string::npos) << text;
    EXPECT_NE(text.find("missing: logit_scale"), std::string::npos) << text;
  }
}

TEST(DualEncoder, SavedFolderNeedsNothingElse) {
  const auto folder = std::filesystem::temp_directory_path() / "trireme_dual_encoder_test";
  std::filesystem::remove_all(folder);
  jobs::ModelSpec spec = tiny_spec();
  spec.text.frozen = true;
  DualEncoder model(spec, 1);
  model.set_text_standardization(at::ones({32}), at::full({32}, 2.0));
  model.save(folder.string(), R"({"step": 3})");
  const auto back = DualEncoder::load(folder.string());
  const NamedTensors a = model.state(), b = back->state();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].first, b[i].first);
    EXPECT_TRUE(at::equal(a[i].second, b[i].second));
  }
  EXPECT_TRUE(back->spec().text.frozen);
  // The same file as weights of another model's towers.
  spec.image.weights = spec.text.weights = (folder / "model.safetensors").string();
  DualEncoder copy(spec, 9);
  const at::Tensor image = at::randn({2, 3, 32, 32});
  EXPECT_TRUE(at::equal(copy.encode_image(image), model.encode_image(image)));
  spec.image.width = 64;
  spec.image.layers = 1;
  EXPECT_THROW(DualEncoder(spec, 9), Error);
}

TEST(DualEncoder, AFolderOfOursIsAStartForAnother) {
  const auto folder = std::filesystem::temp_directory_path() / "trireme_start_test";
  std::filesystem::remove_all(folder);
  jobs::ModelSpec spec = tiny_spec();
  DualEncoder model(spec, 1);
  model.set_image_standardization(at::randn({32}), at::rand({32}) + 0.5);
  model.set_text_standardization(at::randn({32}), at::rand({32}) + 0.5);
  model.save(folder.string(), "{}");
  spec.init_from = folder.string();
  DualEncoder copy(spec, 9);
  const at::NoGradGuard no_gradients;
  const at::Tensor image = at::randn({2, 3, 32, 32}), tokens = at::randint(3, 60, {2, 5}, at::kLong);
  EXPECT_TRUE(at::equal(copy.encode_image(image), model.encode_image(image)));
  EXPECT_TRUE(at::equal(copy.encode_text(tokens), model.encode_text(tokens)));
  EXPECT_TRUE(at::equal(copy.image_mean(), model.image_mean()));
  EXPECT_NO_THROW(check_named_weights(spec));

  // What no tensor shows has to be what it was trained with.
  const auto refusal = [](const jobs::ModelSpec& other) {
    std::string told[2];
    for (const bool whole : {false, true}) {
      try {
        if (whole)
          DualEncoder(other, 9);
        else
          check_named_weights(other);
      } catch (const Error& error) {
        told[whole] = error.what();
      }
    }
    EXPECT_EQ(told[0], told[1]);  // the look at the headers finds as much
    return told[0];
  };
  jobs::ModelSpec other = spec;
  other.image.mean = {0.2, 0.3, 0.4};
  EXPECT_NE(refusal(other).find("image.mean = ["), std::string::npos) << refusal(other);
  other = spec;
  other.image.resize_px = 40;
  EXPECT_NE(refusal(other).find("image.resize_px = 32, the model has 40"), std::string::npos)
      << refusal(other);
  other = spec;
  other.text.tokenizer.buckets = 128;
  EXPECT_NE(refusal(other).find("knows 64 tokens, text.tokenizer has 128"), std::string::npos)
      << refusal(other);
  other = spec;
  other.text.heads = 4;
  EXPECT_NE(refusal(other).find("text.heads = 2, the model has 4"), std::string::npos) << refusal(other);
  other = spec;
  other.image.image_px = 48;  // another resolution is for the user to choose
  other.image.resize_px = 48;
  EXPECT_EQ(refusal(other), "");
}

TEST(DualEncoder, SpecificationFaults) {
  jobs::ModelSpec spec = tiny_spec();
  spec.image.heads = 3;
  EXPECT_THROW(DualEncoder(spec, 1), Error);
  spec = tiny_spec();
  spec.image.projection = jobs::ProjectionKind::kNone;  // 32 wide, embed_dim 16
  EXPECT_THROW(DualEncoder(spec, 1), Error);
  spec = tiny_spec();
  spec.freeze = {"visual.resblocks.*"};
  EXPECT_THROW(DualEncoder(spec, 1), Error);
  EXPECT_THROW(jobs::resolve_weights("pretrained:minilmm"), Error);
  EXPECT_THROW(jobs::resolve_weights("/nowhere.safetensors"), Error);
}

TEST(Tokenize, PadsToTheLongestOfTheBatch) {
  const auto tokenizer = text::make_tokenizer({jobs::TokenizerKind::kHashedWords, "", 64});
  const TokenBatch batch = tokenize(*tokenizer, {"a", "a b c", "a b c d e f"}, 6);
  EXPECT_EQ(batch.tokens_NL.sizes(), (at::IntArrayRef{3, 6}));
  EXPECT_EQ(batch.truncated, 1);
  EXPECT_EQ(batch.tokens_NL[0][2].item<std::int64_t>(), 2);
  EXPECT_EQ(batch.tokens_NL[0][3].item<std::int64_t>(), 0);
}

}  // namespace
}  // namespace trireme::worker::models
