#include "worker/stages/vocabulary/vocabulary_stage.h"

#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/text/tokenizers/tokenizer.h"

namespace trireme::worker::stages::vocabulary {
namespace {

class VocabularyTest : public testing::StageTest {
 protected:
  // The vocabulary that the three phases make of a shard, cut into ranges.
  std::string trained(const jobs::Task& shard, std::int64_t range, jobs::VocabularySettings settings) {
    settings.data = {"train"};
    jobs::Task map = shard, merge, train;
    map.settings = merge.settings = train.settings = jobs::settings_json(settings);
    std::vector<jobs::InputsLine> words, sums;
    for (map.first = 0; map.first < shard.count; map.first += range) {
      map.count = std::min(range, shard.count - map.first);
      map.output = out("map-" + std::to_string(map.first), "");
      words.push_back(
          {{}, input(jobs::Role::kWords, VocabularyMapStage().run(map, context_).outputs[0].path)});
    }
    set_inputs(merge, words);
    merge.parts = settings.partitions;
    for (merge.part = 0; merge.part < merge.parts; ++merge.part) {
      merge.output = out("merge-" + std::to_string(merge.part), "");
      sums.push_back(
          {{}, input(jobs::Role::kWordCounts, VocabularyMergeStage().run(merge, context_).outputs[0].path)});
    }
    set_inputs(train, sums);
    train.output = out("train", "");
    const auto done = VocabularyTrainStage().run(train, context_);
    path_ = done.outputs[0].path;
    counts_ = done.counts;
    return io::read_file(path_);
  }

  std::string path_;
  std::map<std::string, std::int64_t> counts_;
};

std::vector<testing::TestSample> samples() {
  std::vector<testing::TestSample> made;
  for (int i = 0; i < 40; ++i)
    made.push_back({"k" + std::to_string(100 + i), "picture",
                    "A photo of dog " + std::to_string(i % 7) + ".\nDogs running, caf\xc3\xa9 \xe6\x9d\xb1 " +
                        std::to_string(i)});
  return made;
}

TEST_F(VocabularyTest, TheSameForAnyRangesAndPartitions) {
  const auto shard = shard_task("s", samples());
  const std::string expected = trained(shard, 40, {.size = 70, .partitions = 1});
  EXPECT_EQ(counts_.at("pieces"), 70);
  for (const auto& [range, partitions] : {std::pair<std::int64_t, std::int64_t>{7, 3}, {1, 8}})
    EXPECT_EQ(trained(shard, range, {.size = 70, .partitions = partitions}), expected);
}

TEST_F(VocabularyTest, ATokenizerReadsIt) {
  const auto shard = shard_task("s", samples());
  trained(shard, 40, {.size = 200});
  const auto tokenizer = text::make_tokenizer({jobs::TokenizerKind::kWordPiece, path_});
  EXPECT_EQ(tokenizer->vocabulary_size(), counts_.at("pieces"));
  const auto tokens = tokenizer->encode("A PHOTO of dogs, caf\xc3\xa9", 32);
  EXPECT_EQ(tokenizer->decode(tokens.ids), "a photo of dogs, cafe");
}

TEST_F(VocabularyTest, RulesOfTheStage) {
  const auto shard = shard_task("s", samples());
  EXPECT_EQ(trained(shard, 40, {.size = 90}).find("\xc3\xa9"), std::string::npos);
  EXPECT_NE(trained(shard, 40, {.size = 90, .strip_accents = false}).find("\xc3\xa9"), std::string::npos);
  EXPECT_NE(trained(shard, 40, {.size = 90, .lower_case = false}).find("\nA\n"), std::string::npos);
}

TEST_F(VocabularyTest, NoWordsAtAll) {
  const auto shard = shard_task("s", {{"k", "picture", "", "3"}});
  EXPECT_THROW(trained(shard, 1, {}), Error);
}

}  // namespace
}  // namespace trireme::worker::stages::vocabulary
