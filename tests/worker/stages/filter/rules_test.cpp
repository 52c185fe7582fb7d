#include "worker/stages/filter/rules.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "common/base/random.h"

namespace trireme::worker::stages::filter {
namespace {

SampleFacts good() {
  return {"", 640, 480, {{8, 1}}, 1};
}

bool kept(SampleFacts facts, void (*change)(SampleFacts&), jobs::FilterSettings settings = {}) {
  settings.max_images_per_text = 10;
  settings.max_texts_per_image = 1000;
  change(facts);
  return judge(facts, settings).kept;
}

TEST(Rules, BoundaryCasesOfMethods3_1) {
  EXPECT_TRUE(kept(good(), [](auto&) {}));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.height = 200, f.width = 300; }));
  EXPECT_TRUE(kept(good(), [](auto& f) { f.height = 201, f.width = 300; }));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.width = 200, f.height = 300; }));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.width = 900, f.height = 300; }));
  EXPECT_TRUE(kept(good(), [](auto& f) { f.width = 899, f.height = 300; }));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.width = 300, f.height = 900; }));
  EXPECT_TRUE(kept(good(), [](auto& f) { f.captions[0].images_per_text = 10; }));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.captions[0].images_per_text = 11; }));
  EXPECT_TRUE(kept(good(), [](auto& f) { f.texts_per_image = 1000; }));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.texts_per_image = 1001; }));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.captions[0].words = 2; }));
  EXPECT_TRUE(kept(good(), [](auto& f) { f.captions[0].words = 3; }));
  EXPECT_TRUE(kept(good(), [](auto& f) { f.captions[0].words = 20; }));
  EXPECT_FALSE(kept(good(), [](auto& f) { f.captions[0].words = 21; }));
}

TEST(Rules, NullTurnsARuleOff) {
  jobs::FilterSettings off;
  off.short_side_over_px = {};
  off.aspect_below = {};
  off.min_words = {};
  off.max_words = {};
  EXPECT_TRUE(judge({"", 1, 5000, {{0, 1000}}, 5000}, off).kept);
  EXPECT_FALSE(judge({"truncated_image", 640, 480, {{5, 1}}, 1}, off).kept);
}

TEST(Rules, OneGoodCaptionKeepsTheSample) {
  auto facts = good();
  facts.captions = {{2, 1}, {8, 1}, {30, 1}, {9, 1}};
  const Verdict verdict = judge(facts, {});
  EXPECT_TRUE(verdict.kept);
  EXPECT_EQ(verdict.captions, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(verdict_line(7, "k", facts, verdict), R"({"sample":7,"key":"k","kept":true,"captions":[1,3]})");
  EXPECT_EQ(verdict.dropped_captions.at("min_words"), 1);
  facts.captions = {{2, 1}, {30, 1}};
  EXPECT_EQ(
      verdict_line(7, "k", facts, judge(facts, {})),
      R"({"sample":7,"key":"k","kept":false,"rules":["min_words","max_words"],"evidence":{"words":[2,30]}})");
}

TEST(Rules, LabelledSamplesSkipTextRules) {
  const SampleFacts facts{"", 640, 480, {}, 1};
  const Verdict verdict = judge(facts, {});
  EXPECT_TRUE(verdict.kept);
  EXPECT_EQ(verdict_line(0, "s0", facts, verdict), R"({"sample":0,"key":"s0","kept":true})");
}

TEST(Rules, EvidenceNamesWhatWasMeasured) {
  const SampleFacts facts{"", 900, 180, {{2, 1}}, 1};
  EXPECT_EQ(verdict_line(1, "k", facts, judge(facts, {})),
            R"({"sample":1,"key":"k","kept":false,"rules":["short_side","aspect","min_words"],)"
            R"("evidence":{"short_side":180,"aspect":5.0,"words":[2]}})");
  const SampleFacts bad{"bad_header", 0, 0, {{4, 1}}, 1};
  EXPECT_EQ(verdict_line(2, "\xff", bad, judge(bad, {})),
            "{\"sample\":2,\"key\":\"\xEF\xBF\xBD\",\"kept\":false,\"rules\":[\"bad_decode\"],"
            "\"evidence\":{\"reason\":\"bad_header\"}}");
}

// Tightening any limit never keeps a sample that was dropped.
TEST(Rules, MonotoneInEveryLimit) {
  RandomStream random(3, RandomPurpose::kTest);
  const auto draw = [&](std::uint64_t bound) { return static_cast<std::int64_t>(random.below(bound)); };
  for (int round = 0; round < 2000; ++round) {
    SampleFacts facts{"", 1 + draw(500), 1 + draw(500), {}, 1 + draw(20)};
    for (auto i = draw(4); i > 0; --i) facts.captions.push_back({draw(30), 1 + draw(20)});
    jobs::FilterSettings loose;
    loose.short_side_over_px = draw(300);
    loose.aspect_below = 1 + random.uniform() * 4;
    loose.min_words = draw(10);
    loose.max_words = 10 + draw(20);
    loose.max_images_per_text = 1 + draw(20);
    loose.max_texts_per_image = 1 + draw(20);
    auto tight = loose;
    *tight.short_side_over_px += draw(50);
    *tight.aspect_below = std::max(1.0, *tight.aspect_below - random.uniform());
    *tight.min_words += draw(3);
    *tight.max_words -= draw(3);
    *tight.max_images_per_text = std::max<std::int64_t>(1, *tight.max_images_per_text - draw(3));
    *tight.max_texts_per_image = std::max<std::int64_t>(1, *tight.max_texts_per_image - draw(3));
    EXPECT_TRUE(judge(facts, loose).kept || !judge(facts, tight).kept);
  }
}

TEST(Rules, NearDuplicatesAndTestImages) {
  SampleFacts facts = good();
  facts.near["image"] = {"train/0/3", 4, "hash"};
  facts.against = NearFact{"test/1/2", 0, "hash"};
  EXPECT_TRUE(judge(facts, RuleBook()).kept);  // measured, but no rule asks
  jobs::FilterSettings settings;
  settings.near_unique = {"image"};
  EXPECT_EQ(judge(facts, settings).rules, (std::vector<std::string>{"near_duplicate_image"}));
  settings.against = {"test"};
  const auto verdict = judge(facts, settings);
  EXPECT_EQ(verdict.rules, (std::vector<std::string>{"near_duplicate_image", "against"}));
  const std::string line = verdict_line(0, "k", facts, verdict);
  EXPECT_NE(line.find(R"("near_duplicate_image":["train/0/3",4],"against":["test/1/2",0])"),
            std::string::npos)
      << line;
  facts.near["embedding"] = {"train/0/1", 0.98, "embedding"};
  facts.near["text"] = {"train/0/2", 0.75, "caption"};
  facts.against->by = "embedding";
  EXPECT_EQ(judge(facts, settings).rules, verdict.rules);  // each kind by itself
  settings.near_unique = {"text", "embedding"};
  const auto others = judge(facts, settings);
  EXPECT_EQ(others.rules,
            (std::vector<std::string>{"near_duplicate_embedding", "near_duplicate_text", "against"}));
  EXPECT_NE(verdict_line(0, "k", facts, others)
                .find(R"("near_duplicate_embedding":["train/0/1",0.98,"embedding"],)"
                      R"("near_duplicate_text":["train/0/2",0.75,"caption"],)"
                      R"("against":["test/1/2",0.0,"embedding"])"),
            std::string::npos);
  facts.near.clear();
  facts.against = {};
  EXPECT_TRUE(judge(facts, settings).kept);
}

TEST(Rules, SpottedTextDropsTheCaptionsThatRepeatIt) {
  SampleFacts facts = good();
  facts.captions.push_back(facts.captions[0]);
  facts.spotted = {{"SALE 50% OFF", 0.95, {12, 0}}, {"noise", 0.5, {0, 5}}};
  EXPECT_TRUE(judge(facts, RuleBook()).kept);
  jobs::FilterSettings settings;
  EXPECT_EQ(settings.spot_confidence, 0.5);  // Tesseract's, not DiHT's of its own spotter
  settings.spotted_text_below = 5;
  settings.spot_confidence = 0.8;
  auto verdict = judge(facts, settings);
  EXPECT_TRUE(verdict.kept);
  EXPECT_EQ(verdict.captions, (std::vector<std::int64_t>{1}));
  EXPECT_EQ(verdict.dropped_captions.at("spotted_text"), 1);
  settings.spot_confidence = 0.5;  // not below is enough
  verdict = judge(facts, settings);
  EXPECT_EQ(verdict.rules, (std::vector<std::string>{"spotted_text"}));
  EXPECT_NE(verdict_line(0, "k", facts, verdict)
                .find(R"("spotted_text":[["SALE 50% OFF",0.95,[12,0]],["noise",0.5,[0,5]]])"),
            std::string::npos);
  settings.spotted_text_below = 6;
  EXPECT_TRUE(judge(facts, settings).kept);
  settings.spotted_text_below = 13;
  EXPECT_EQ(judge(facts, settings).captions.size(), 2u);
}

}  // namespace
}  // namespace trireme::worker::stages::filter
