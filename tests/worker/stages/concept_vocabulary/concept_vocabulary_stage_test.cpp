#include "worker/stages/concept_vocabulary/concept_vocabulary_stage.h"

#include "jobs/specification/stages/concept_vocabulary.h"
#include "tests/worker/stages/support/stage_fixture.h"

namespace trireme::worker::stages::concept_vocabulary {
namespace {

class ConceptVocabularyTest : public testing::StageTest {
 protected:
  // The file that the three phases make of a shard, cut into ranges.
  std::string made(const jobs::Task& shard, std::int64_t range, jobs::ConceptVocabularySettings settings) {
    settings.data = {"train"};
    jobs::Task map = shard, merge, last;
    map.settings = merge.settings = last.settings = jobs::settings_json(settings);
    std::vector<jobs::InputsLine> words, sums;
    for (map.first = 0; map.first < shard.count; map.first += range) {
      map.count = std::min(range, shard.count - map.first);
      map.output = out("map-" + std::to_string(map.first), "");
      words.push_back(
          {{}, input(jobs::Role::kConceptWords, ConceptWordsMapStage().run(map, context_).outputs[0].path)});
    }
    set_inputs(merge, words);
    merge.parts = settings.partitions;
    for (merge.part = 0; merge.part < merge.parts; ++merge.part) {
      merge.output = out("merge-" + std::to_string(merge.part), "");
      sums.push_back(
          {{},
           input(jobs::Role::kConceptCounts, ConceptWordsMergeStage().run(merge, context_).outputs[0].path)});
    }
    set_inputs(last, sums);
    last.output = out("last", "");
    last.stage = "words";
    const auto done = ConceptVocabularyStage().run(last, context_);
    counts_ = done.counts;
    return io::read_file(done.outputs[0].path);
  }

  std::map<std::string, std::int64_t> counts_;
};

std::vector<testing::TestSample> samples() {
  std::vector<testing::TestSample> all;
  for (int i = 0; i < 30; ++i)
    all.push_back({"k" + std::to_string(100 + i), "picture",
                   std::string(i % 3 == 0 ? "two black dogs\nthe black dog" : "a small red boat") +
                       (i % 10 == 0 ? " near a zorblax" : " near a tree")});
  return all;
}

TEST_F(ConceptVocabularyTest, SamplesAreCountedMostFrequentFirst) {
  const auto text = made(shard_task("s", samples()), 30, {.min_count = 2});
  const auto read = jobs::concept_vocabularies_from_json(text, "made");
  ASSERT_EQ(read.lists.size(), 2U);
  const auto& objects = *read.find("objects");
  ASSERT_EQ(objects.size(), 3) << text;
  EXPECT_EQ(objects.concepts[0].name, "tree");
  EXPECT_EQ(objects.concepts[0].count, 27);
  EXPECT_EQ(objects.concepts[1].name, "boat");
  EXPECT_EQ(objects.concepts[1].count, 20);
  EXPECT_EQ(objects.concepts[2].name, "dog");
  EXPECT_EQ(objects.concepts[2].count, 10) << "once per sample, whatever its captions";
  EXPECT_EQ(objects.concepts[2].wordnet, "02084071-n");
  const auto& attributes = *read.find("attributes");
  ASSERT_EQ(attributes.size(), 3);
  EXPECT_EQ(attributes.concepts[0].name, "red");  // as often as small: the alphabet
  EXPECT_EQ(attributes.concepts[2].name, "black");
  EXPECT_EQ(attributes.concepts[2].count, 10);
  EXPECT_FALSE(attributes.concepts[0].gloss.empty());
  EXPECT_EQ(counts_.at("objects"), 3);
  EXPECT_EQ(counts_.at("left_out.unknown"), 1) << "WordNet has no zorblax";
}

TEST_F(ConceptVocabularyTest, TheSameForAnyRangesAndPartitions) {
  const auto shard = shard_task("s", samples());
  const std::string expected = made(shard, 30, {.min_count = 1, .partitions = 1});
  for (const auto& [range, partitions] : {std::pair<std::int64_t, std::int64_t>{7, 3}, {1, 8}})
    EXPECT_EQ(made(shard, range, {.min_count = 1, .partitions = partitions}), expected);
}

TEST_F(ConceptVocabularyTest, Limits) {
  const auto shard = shard_task("s", samples());
  const auto unknown =
      jobs::concept_vocabularies_from_json(made(shard, 30, {.min_count = 1, .known_words = false}), "made");
  EXPECT_EQ(unknown.find("objects")->concepts.back().name, "zorblax");
  const auto most = jobs::concept_vocabularies_from_json(
      made(shard, 30, {.min_count = 1, .most_objects = 2, .most_attributes = 2}), "made");
  EXPECT_EQ(most.find("objects")->size(), 2);
  EXPECT_EQ(counts_.at("left_out.beyond"), 2);
  EXPECT_EQ(counts_.at("left_out.rare"), 0);
  made(shard, 30, {.min_count = 11});
  EXPECT_EQ(counts_.at("left_out.rare"), 3);
}

TEST_F(ConceptVocabularyTest, FewerThanTwoWordsAreAnError) {
  try {
    made(shard_task("s", samples()), 30, {.min_count = 27});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("stage 'words'"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("needs two"), std::string::npos) << error.what();
  }
}

TEST_F(ConceptVocabularyTest, WhatAFilterDroppedIsNotCounted) {
  auto shard = shard_task("s", samples());
  std::string verdicts = "{\"format\":\"trireme-verdicts\",\"version\":1,\"first\":0,\"count\":30}\n";
  for (int i = 0; i < 30; ++i)
    verdicts += "{\"sample\":" + std::to_string(i) + ",\"key\":\"k\",\"kept\":" +
                (i >= 15 ? "false,\"rules\":[\"min_words\"],\"evidence\":{}}" : "true}") + "\n";
  const auto path = (folder_ / "v.jsonl").string();
  io::write_file_atomic(path, verdicts, false);
  shard.inputs.push_back(input(jobs::Role::kVerdicts, path));
  const auto read = jobs::concept_vocabularies_from_json(made(shard, 30, {.min_count = 1}), "made");
  EXPECT_EQ(read.find("objects")->concepts[0].count, 13);
}

}  // namespace
}  // namespace trireme::worker::stages::concept_vocabulary
