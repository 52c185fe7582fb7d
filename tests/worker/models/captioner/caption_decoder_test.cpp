// The decoder against transformers' BLIP: logits, loss, gradients; the cache against teacher forcing.
#include "worker/models/captioner/caption_decoder.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <memory>

#include "common/base/error.h"
#include "tests/worker/models/captioner/support.h"
#include "worker/checkpoint/name_map.h"
#include "worker/models/autocast.h"
#include "worker/models/captioner/captioner.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {
namespace {

using captioner_test::blip_spec;
using captioner_test::golden;

double farthest(const at::Tensor& a, const at::Tensor& b) {
  return (a.detach().to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

std::string fault_of(const jobs::ModelSpec& spec) {
  try {
    DualEncoder model(spec, 0);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CaptionDecoder, LogitsAreTransformers) {
  const at::NoGradGuard no_grad;
  DualEncoder model(blip_spec(), 0);
  const at::Tensor image = model.image_tokens(golden().load("input.image").narrow(0, 0, 3));
  EXPECT_LE(farthest(image, golden().load("output.image_tokens")), 1e-5);
  const at::Tensor tokens = golden().load("input.tokens");
  const at::Tensor logits = model.decoder()->forward(tokens, image);
  // Behind the end nobody looks: there transformers masks keys, and here padding sees padding.
  const at::Tensor words = (tokens != 0).unsqueeze(2);
  EXPECT_LE(farthest(logits * words, golden().load("output.logits") * words), 1e-5);
}

TEST(CaptionDecoder, GradientsOfTheLossAreTransformers) {
  DualEncoder model(blip_spec(), 0);
  const at::Tensor tokens = golden().load("input.tokens");
  const at::Tensor image = model.image_tokens(golden().load("input.image").narrow(0, 0, 3));
  const at::Tensor logits = model.decoder()->forward(tokens, image).narrow(1, 0, tokens.size(1) - 1);
  at::Tensor next = tokens.narrow(1, 1, tokens.size(1) - 1).clone();
  next.masked_fill_(next == 0, -100);
  next.narrow(1, 0, 2).fill_(-100);
  const at::Tensor loss =
      at::cross_entropy_loss(logits.flatten(0, 1), next.flatten(), {}, at::Reduction::Mean, -100, 0.1);
  EXPECT_NEAR(loss.item<double>(), golden().load("output.loss").item<double>(), 1e-5);
  const checkpoint::NameMap map(checkpoint::Layout::kHfBlip);
  std::vector<at::Tensor> leaves, expected;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.trainable_parameters()) {
    const auto rule = map.rule(name);
    ASSERT_TRUE(rule) << name;
    if (!golden().contains("gradient." + rule->theirs.front())) continue;
    std::vector<at::Tensor> parts;
    for (const auto& theirs : rule->theirs) parts.push_back(golden().load("gradient." + theirs));
    leaves.push_back(tensor);
    expected.push_back(at::cat(parts).view(tensor.sizes()));
    names.push_back(name);
  }
  EXPECT_GT(leaves.size(), 25U);
  const auto gradients = torch::autograd::grad({loss}, leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    EXPECT_LE((gradients[i] - expected[i]).norm().item<double>(),
              1e-4 * (1e-2 + expected[i].norm().item<double>()))
        << names[i];
}

class CaptionDecoderForms : public ::testing::TestWithParam<CrossForm> {};
INSTANTIATE_TEST_SUITE_P(Both, CaptionDecoderForms,
                         ::testing::Values(CrossForm::kProjected, CrossForm::kAbsorbed));

TEST_P(CaptionDecoderForms, StepByStepIsTheSameAsAtOnce) {
  const at::NoGradGuard no_grad;
  DualEncoder model(blip_spec(), 0);
  const CaptionDecoder& decoder = *model.decoder();
  const at::Tensor image = model.image_tokens(golden().load("input.image").narrow(0, 0, 2));
  const at::Tensor tokens = at::tensor({88, 11, 12, 40, 7, 88, 11, 12, 5, 9}, at::kLong).view({2, 5});
  const at::Tensor whole = decoder.forward(tokens, image);
  DecoderCache cache = decoder.start(image, 5, GetParam());
  EXPECT_LE(farthest(decoder.step(tokens.narrow(1, 0, 3), cache), whole.select(1, 2)), 1e-5);
  // Three rows per image, of which the middle one goes on as the golden tokens do.
  cache.keep_rows(at::tensor({0, 0, 0, 1, 1, 1}, at::kLong));
  at::Tensor six = at::full({6, 1}, 60, at::kLong);
  six[1][0] = tokens[0][3];
  six[4][0] = tokens[1][3];
  const at::Tensor third = decoder.step(six, cache);
  EXPECT_LE(farthest(third.index_select(0, at::tensor({1, 4}, at::kLong)), whole.select(1, 3)), 1e-5);
  cache.keep_rows(at::tensor({0, 1, 2, 4, 4, 3}, at::kLong));
  six[1][0] = tokens[0][4];
  six[3][0] = tokens[1][4];
  const at::Tensor fourth = decoder.step(six, cache);
  EXPECT_LE(farthest(fourth.index_select(0, at::tensor({1, 3}, at::kLong)), whole.select(1, 4)), 1e-5);
}

TEST_P(CaptionDecoderForms, ImagesCanLeave) {
  const at::NoGradGuard no_grad;
  DualEncoder model(blip_spec(), 0);
  const CaptionDecoder& decoder = *model.decoder();
  const at::Tensor image = model.image_tokens(golden().load("input.image"));
  const at::Tensor start = at::full({7, 1}, 88, at::kLong), next = at::full({7, 1}, 30, at::kLong);
  DecoderCache all = decoder.start(image, 3, GetParam()), few = decoder.start(image, 3, GetParam());
  decoder.step(start, all);
  decoder.step(start, few);
  const at::Tensor kept = at::tensor({1, 5}, at::kLong);
  few.keep_rows(kept);
  few.keep_images(kept);
  EXPECT_LE(farthest(decoder.step(next.narrow(0, 0, 2), few), decoder.step(next, all).index_select(0, kept)),
            1e-5);
}

// A decoder of random weights, all of them (biases and norms, too), large enough for every head to choose.
struct RandomDecoder {
  nn::ParameterSet set{5};
  std::unique_ptr<CaptionDecoder> decoder;

  RandomDecoder(std::int64_t width, std::int64_t heads, std::int64_t image_width) {
    jobs::TextTowerSpec spec;
    spec.width = width;
    spec.heads = heads;
    spec.layers = 3;
    spec.positions = 12;
    decoder = std::make_unique<CaptionDecoder>(spec, 50, image_width, set);
    at::manual_seed(9);
    for (const nn::NamedTensor& entry : set.entries()) {
      at::Tensor tensor = entry.tensor;
      tensor.normal_(0, tensor.dim() == 1 ? 0.5 : 2 / std::sqrt(static_cast<double>(tensor.size(1))));
      if (entry.scale == 1) tensor.add_(1);
    }
  }
};

double relative(const at::Tensor& found, const at::Tensor& wanted) {
  return farthest(found, wanted) / wanted.abs().max().item<double>();
}

// Prompts of one and of several tokens, one and three captions per image, images that leave; widths that the
// kernels take and widths that torch computes, beside teacher forcing.
TEST(CaptionDecoder, AbsorbedIsProjectedIsAtOnce) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(2);
  struct Shape {
    std::int64_t width, heads, image_width, tokens;
  };
  for (const Shape& shape :
       {Shape{32, 2, 32, 101}, {64, 4, 48, 9}, {48, 4, 96, 200}, {20, 5, 24, 7}, {32, 4, 25, 33}})
    for (const std::int64_t prompt : {1, 4})
      for (const std::int64_t rows : {1, 3}) {
        const RandomDecoder random(shape.width, shape.heads, shape.image_width);
        const CaptionDecoder& decoder = *random.decoder;
        const at::Tensor image = at::randn({4, shape.tokens, shape.image_width});
        const at::Tensor start = at::randint(50, {4, prompt}, at::kLong);
        at::Tensor words = start.repeat_interleave(rows, 0), pictures = image.repeat_interleave(rows, 0);
        DecoderCache projected = decoder.start(image, 12, CrossForm::kProjected);
        DecoderCache absorbed = decoder.start(image, 12, CrossForm::kAbsorbed);
        EXPECT_TRUE(absorbed.image_key.empty() && !projected.image.defined());
        const at::Tensor first = decoder.step(start, absorbed);
        EXPECT_LE(relative(first, decoder.step(start, projected)), 1e-5);
        EXPECT_LE(relative(first, decoder.forward(start, image).select(1, prompt - 1)), 1e-5);
        for (DecoderCache* cache : {&absorbed, &projected})
          cache->keep_rows(at::arange(4, at::kLong).repeat_interleave(rows));
        for (int more = 0; more < 4; ++more) {
          if (more == 2) {  // images 3 and 1 stay
            const at::Tensor kept = at::tensor({3, 1}, at::kLong);
            const at::Tensor kept_rows =
                at::arange(4 * rows, at::kLong).view({4, rows}).index_select(0, kept).flatten();
            for (DecoderCache* cache : {&absorbed, &projected}) {
              cache->keep_rows(kept_rows);
              cache->keep_images(kept);
            }
            words = words.index_select(0, kept_rows);
            pictures = pictures.index_select(0, kept_rows);
          }
          const at::Tensor next = at::randint(50, {words.size(0), 1}, at::kLong);
          words = at::cat({words, next}, 1);
          const at::Tensor found = decoder.step(next, absorbed), other = decoder.step(next, projected);
          const at::Tensor whole = decoder.forward(words, pictures).select(1, words.size(1) - 1);
          EXPECT_LE(relative(found, other), 1e-5)
              << shape.width << " " << prompt << " " << rows << " " << more;
          EXPECT_LE(relative(found, whole), 1e-5)
              << shape.width << " " << prompt << " " << rows << " " << more;
        }
      }
  at::set_num_threads(1);
}

TEST(CaptionDecoder, TheCheaperForm) {
  const RandomDecoder random(32, 4, 64);  // absorbed: rows * most * (4 * 64 / 32 - 1) < 1.5 * 64
  const CaptionDecoder& decoder = *random.decoder;
  const at::Tensor image = at::randn({1, 5, 64});
  EXPECT_EQ(decoder.cheaper(image, 1, 13), CrossForm::kAbsorbed);
  EXPECT_EQ(decoder.cheaper(image, 1, 14), CrossForm::kProjected);
  EXPECT_EQ(decoder.cheaper(image, 2, 6), CrossForm::kAbsorbed);
  EXPECT_EQ(decoder.cheaper(image, 2, 7), CrossForm::kProjected);
  EXPECT_EQ(decoder.cheaper(image.to(at::kBFloat16), 1, 2), CrossForm::kProjected);
  const Autocast autocast("cpu", true);
  EXPECT_EQ(decoder.cheaper(image, 1, 2), CrossForm::kProjected);
}

TEST(CaptionDecoder, AnyImageTowerAndAHeadOfItsOwn) {
  auto spec = blip_spec();
  spec.init_from = "";
  spec.text.tied_head = false;
  spec.image = {};
  spec.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
  spec.image.image_px = 64;
  spec.image.width_factor = 0.25;
  DualEncoder model(spec, 3);
  const at::Tensor image = model.image_tokens(at::randn({2, 3, 64, 64}));
  EXPECT_EQ(image.sizes(), (at::IntArrayRef{2, 4, model.image_tower_width()}));
  // The pooled features are the mean of the tokens.
  const at::Tensor pixels = at::randn({1, 3, 64, 64});
  EXPECT_TRUE(at::allclose(model.image_features(pixels), model.image_tokens(pixels).mean(1), 1e-4, 1e-5));
  EXPECT_EQ(model.decoder()->forward(at::full({2, 3}, 5, at::kLong), image).sizes(),
            (at::IntArrayRef{2, 3, 90}));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.trainable_parameters()) names.push_back(name);
  EXPECT_EQ(std::count(names.begin(), names.end(), "decoder.head.weight"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "logit_scale"), 0);
}

TEST(CaptionDecoder, BadInputIsNamed) {
  auto spec = blip_spec();
  spec.text.tokenizer.vocabulary = captioner_test::vocabulary(89);
  EXPECT_NE(fault_of(spec).find("the captioner knows 90 tokens, its tokenizer and text.extra_tokens 91"),
            std::string::npos)
      << fault_of(spec);
  spec = blip_spec();
  spec.text.layers = 2;  // the file's third layer must not go unnoticed
  EXPECT_NE(fault_of(spec).find("surplus: text_decoder.bert.encoder.layer.2"), std::string::npos)
      << fault_of(spec);
  spec = blip_spec();
  spec.text.heads = 3;
  EXPECT_NE(fault_of(spec).find("not a multiple of its 3 heads"), std::string::npos);
  auto untied = captioner_test::weights();
  untied.emplace_back("text_decoder.cls.predictions.decoder.weight", at::zeros({90, 20}));
  spec = blip_spec();
  spec.init_from = captioner_test::checkpoint_of("untied", untied);
  EXPECT_NE(fault_of(spec).find("set text.tied_head to false"), std::string::npos) << fault_of(spec);
  spec.text.tied_head = false;
  EXPECT_EQ(fault_of(spec), "");
  DualEncoder model(blip_spec(), 0);
  EXPECT_THROW(model.text_features(at::zeros({1, 3}, at::kLong)), Error);
  const at::Tensor image = at::zeros({1, 5, 24});
  EXPECT_THROW(model.decoder()->forward(at::zeros({1, 25}, at::kLong), image), Error);
}

TEST(CaptionDecoder, AFileMayKeepEitherNameOfTheBias) {
  auto tensors = captioner_test::weights();
  for (auto& [name, tensor] : tensors)
    if (name == "text_decoder.cls.predictions.bias") name = "text_decoder.cls.predictions.decoder.bias";
  auto spec = blip_spec();
  spec.init_from = captioner_test::checkpoint_of("other_bias", tensors);
  EXPECT_EQ(fault_of(spec), "");
}

TEST(CaptionDecoder, ASavedCaptionerIsTheSame) {
  const at::NoGradGuard no_grad;
  DualEncoder model(blip_spec(), 0);
  const auto folder = captioner_test::scratch("saved").string();
  model.save(folder, "{}");
  const auto again = DualEncoder::load(folder);
  EXPECT_EQ(fingerprint(*again), fingerprint(model));
  const at::Tensor pixels = golden().load("input.image");
  EXPECT_TRUE(at::equal(again->image_tokens(pixels), model.image_tokens(pixels)));
}

}  // namespace
}  // namespace trireme::worker::models
