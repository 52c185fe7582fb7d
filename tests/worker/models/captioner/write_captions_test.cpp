// Token for token what transformers' generate writes; sampling by its distribution; limits.
#include "worker/models/captioner/write_captions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "common/base/error.h"
#include "tests/worker/models/captioner/support.h"
#include "worker/models/captioner/captioner.h"

namespace trireme::worker::models {
namespace {

using captioner_test::blip_spec;
using captioner_test::golden;
using Ids = std::vector<std::int64_t>;

const Ids kStart{88, 11, 12};

struct Case {  // with both forms of the cross-attention
  std::string name;
  DecodingOptions options;
};

std::vector<Case> cases() {
  DecodingOptions greedy;
  greedy.max_length = 20;
  DecodingOptions beam = greedy;
  beam.method = DecodingMethod::kBeam;
  DecodingOptions five = beam, ruled = beam, greedy_ruled = greedy, brief = beam;
  five.beams = 5;
  five.max_length = 9;
  ruled.rules = {.repetition_penalty = 1.4, .no_repeat_ngram = 2, .min_length = 9};
  ruled.length_penalty = 1.6;
  greedy_ruled.rules = {.repetition_penalty = 1.3, .no_repeat_ngram = 3, .min_length = 10};
  brief.length_penalty = -0.5;
  DecodingOptions lone = beam;
  lone.beams = 1;
  std::vector<Case> all{{"greedy", greedy},    {"greedy", lone},       {"beam3", beam},
                        {"beam5_short", five}, {"beam3_rules", ruled}, {"greedy_rules", greedy_ruled},
                        {"beam3_brief", brief}};
  for (std::size_t i = 0; i < 7; ++i) {
    all[i].options.cross_form = CrossForm::kProjected;
    all.push_back(all[i]);
    all.back().options.cross_form = CrossForm::kAbsorbed;
  }
  return all;
}

// A row of the golden captions up to its end mark.
Ids expected_of(const at::Tensor& row, bool& ended) {
  Ids ids;
  ended = false;
  for (std::int64_t i = 0; i < row.size(0) && !ended; ++i) {
    ended = row[i].item<std::int64_t>() == 3;
    if (!ended) ids.push_back(row[i].item<std::int64_t>());
  }
  return ids;
}

TEST(WriteCaptions, TokenForTokenAsTransformers) {
  DualEncoder model(blip_spec(), 0);
  const Captioner captioner(model);
  int ends = 0, cut = 0;
  for (const auto& [name, options] : cases()) {
    const at::Tensor captions = golden().load("captions." + name);
    const auto written = captioner.write(golden().load("input.image"), kStart, options);
    ASSERT_EQ(written.size(), 7U);
    for (std::int64_t i = 0; i < 7; ++i) {
      bool ended = false;
      const Ids ids = expected_of(captions[i], ended);
      const WrittenCaption& one = written[static_cast<std::size_t>(i)];
      EXPECT_EQ(one.ids, ids) << name << " " << i;
      EXPECT_EQ(one.ended, ended) << name << " " << i;
      (ended ? ends : cut) += 1;
      if (options.rules.any() || options.method != DecodingMethod::kBeam || options.beams == 1) continue;
      const double tokens = static_cast<double>(ids.size() + (ended ? 1 : 0));
      const double expected = golden().load("scores." + name)[i].item<double>();
      // A sum of float32 logarithms: its last digits depend on the processor's vector width.
      EXPECT_NEAR(one.log_probability / std::pow(tokens, options.length_penalty), expected,
                  1e-4 + 2e-6 * std::abs(expected));
    }
  }
  EXPECT_GE(ends, 10);  // the golden file shows both
  EXPECT_GE(cut, 10);
}

TEST(WriteCaptions, TheBatchBesideItDoesNotMatter) {
  DualEncoder model(blip_spec(), 0);
  const Captioner captioner(model);
  for (const auto& [name, options] : cases()) {
    const auto together = captioner.write(golden().load("input.image"), kStart, options);
    for (std::int64_t i = 0; i < 7; ++i) {
      const auto alone = captioner.write(golden().load("input.image").narrow(0, i, 1), kStart, options);
      EXPECT_EQ(alone[0].ids, together[static_cast<std::size_t>(i)].ids) << name << " " << i;
    }
  }
}

// The log-probability is that of the caption under teacher forcing, whatever the rules.
TEST(WriteCaptions, LogProbabilityIsTheModels) {
  const at::NoGradGuard no_grad;
  DualEncoder model(blip_spec(), 0);
  const Captioner captioner(model);
  const at::Tensor image = model.image_tokens(golden().load("input.image"));
  for (const auto& [name, options] : cases()) {
    const auto written = captioner.write(golden().load("input.image"), kStart, options);
    for (std::int64_t i = 0; i < 7; ++i) {
      const WrittenCaption& one = written[static_cast<std::size_t>(i)];
      Ids ids = kStart;
      ids.insert(ids.end(), one.ids.begin(), one.ids.end());
      if (one.ended) ids.push_back(3);
      const at::Tensor tokens = at::tensor(ids, at::kLong).unsqueeze(0);
      const at::Tensor log_p = model.decoder()->forward(tokens, image.narrow(0, i, 1)).log_softmax(2)[0];
      double sum = 0;
      for (std::size_t at = kStart.size(); at < ids.size(); ++at)
        sum += log_p[static_cast<std::int64_t>(at) - 1][ids[at]].item<double>();
      EXPECT_NEAR(one.log_probability, sum, 1e-3) << name << " " << i;
    }
  }
}

TEST(WriteCaptions, NucleusDrawsFromTheLikeliestTokens) {
  const at::NoGradGuard no_grad;
  DualEncoder model(blip_spec(), 0);
  const Captioner captioner(model);
  constexpr std::int64_t kDraws = 4000;
  DecodingOptions options;
  options.method = DecodingMethod::kNucleus;
  options.top_p = 0.7;
  options.temperature = 1.5;
  options.max_length = 4;  // one token
  const at::Tensor picture = golden().load("input.image").narrow(0, 3, 1);
  std::vector<std::uint64_t> keys;
  for (std::uint64_t i = 0; i < kDraws; ++i) keys.push_back(i);
  const at::Tensor image = model.image_tokens(picture);
  options.rules.end_id = 3;
  std::map<std::int64_t, std::int64_t> seen;
  for (std::int64_t first = 0; first < kDraws; first += 200) {
    const std::vector<std::uint64_t> some(keys.begin() + first, keys.begin() + first + 200);
    for (const auto& one :
         write_captions(*model.decoder(), image.expand({200, -1, -1}).contiguous(), kStart, options, some))
      ++seen[one.ended ? 3 : one.ids.at(0)];
  }
  const at::Tensor tokens = at::tensor(kStart, at::kLong).unsqueeze(0);
  const at::Tensor p = (model.decoder()->forward(tokens, image)[0][2] / 1.5).softmax(0);
  const auto [sorted, order] = p.sort(0, true);
  double above = 0;
  std::map<std::int64_t, double> nucleus;
  for (std::int64_t i = 0; i < 90 && above < 0.7; ++i) {
    nucleus[order[i].item<std::int64_t>()] = sorted[i].item<double>();
    above += sorted[i].item<double>();
  }
  EXPECT_GE(nucleus.size(), 3U);
  for (const auto& [id, count] : seen) EXPECT_TRUE(nucleus.contains(id)) << id;
  double chi = 0;
  for (const auto& [id, probability] : nucleus) {
    const double wanted = probability / above * kDraws, found = static_cast<double>(seen[id]);
    chi += (found - wanted) * (found - wanted) / wanted;
  }
  const double freedom = static_cast<double>(nucleus.size()) - 1;
  EXPECT_LT(chi, freedom + 5 * std::sqrt(2 * freedom));
}

TEST(WriteCaptions, DrawsDependOnSeedAndKeyAlone) {
  DualEncoder model(blip_spec(), 0);
  const Captioner captioner(model);
  DecodingOptions options;
  options.method = DecodingMethod::kNucleus;
  options.top_p = 1;
  options.max_length = 20;
  const at::Tensor images = golden().load("input.image");
  const auto a = captioner.write(images, kStart, options, {1, 2, 3, 4, 5, 6, 7});
  const auto b = captioner.write(images.narrow(0, 4, 1), kStart, options, {5});
  EXPECT_EQ(a[4].ids, b[0].ids);
  options.seed = 1;
  EXPECT_NE(captioner.write(images.narrow(0, 4, 1), kStart, options, {5})[0].ids, b[0].ids);
}

TEST(WriteCaptions, RulesHold) {
  DualEncoder model(blip_spec(), 0);
  const Captioner captioner(model);
  DecodingOptions options;
  options.method = DecodingMethod::kBeam;
  options.max_length = 20;
  options.rules = {.no_repeat_ngram = 1, .min_length = 16};
  for (const auto& one : captioner.write(golden().load("input.image"), kStart, options)) {
    std::map<std::int64_t, int> times;
    for (const auto id : one.ids) EXPECT_EQ(++times[id], 1);
    EXPECT_EQ(times.count(11), 0U);  // stands in the prompt
    EXPECT_GE(one.ids.size(), 13U);
  }
}

TEST(WriteCaptions, LimitsAreFaults) {
  DualEncoder model(blip_spec(), 0);
  const Captioner captioner(model);
  const at::Tensor images = golden().load("input.image");
  DecodingOptions options;
  options.max_length = 25;
  EXPECT_THROW(captioner.write(images, kStart, options), Error);
  options.max_length = 3;
  EXPECT_THROW(captioner.write(images, kStart, options), Error);
  options.max_length = 10;
  int polls = 0;
  EXPECT_THROW(captioner.write(images, kStart, options, {},
                               [&] {
                                 if (++polls == 3) throw Error(ErrorKind::kCancelled, "stop");
                               }),
               Error);
  EXPECT_EQ(polls, 3);
  EXPECT_TRUE(captioner.write(images.narrow(0, 0, 0), kStart, options).empty());
}

TEST(Captioner, WordsAndStarts) {
  auto spec = blip_spec();
  spec.text.prompt = "w11 w12";
  DualEncoder model(spec, 0);
  const Captioner captioner(model);
  EXPECT_EQ(captioner.start(), kStart);
  EXPECT_EQ(captioner.start("w5"), (Ids{88, 5}));
  EXPECT_EQ(captioner.start(""), Ids{88});
  EXPECT_EQ(captioner.words({40, 88, 89, 41, 3}), "w40 w41");
  const auto batch = captioner.tokenize({"w40 w41", "w7"});
  EXPECT_TRUE(at::equal(batch.tokens_NL,
                        at::tensor({88, 11, 12, 40, 41, 3, 88, 11, 12, 7, 3, 0}, at::kLong).view({2, 6})));
  spec.text.extra_tokens = 0;
  spec.init_from = "";
  DualEncoder own(spec, 0);
  EXPECT_EQ(Captioner(own).start("").front(), 2);  // [CLS]
  spec.text.kind = jobs::TextTowerKind::kBert;
  DualEncoder pairs(spec, 0);
  EXPECT_THROW(Captioner{pairs}, Error);
}

}  // namespace
}  // namespace trireme::worker::models
