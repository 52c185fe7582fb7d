#include "worker/stages/pair_counts/pair_counts_stage.h"

#include <map>
#include <set>

#include "common/io/hash.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/data/tallies/pair_counts.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::pair_counts {
namespace {

class PairCountsTest : public testing::StageTest {};

TEST_F(PairCountsTest, ExactForAnyRangesAndPartitions) {
  // Pictures repeat every 5 samples, texts every 3 and 4: pairs repeat, and both rules have something to
  // count.
  std::vector<testing::TestSample> samples;
  std::map<std::string, std::set<std::string>> images_of, texts_of;
  for (int i = 0; i < 40; ++i) {
    const std::string image = "picture " + std::to_string(i % 5);  // hashed, never decoded
    const std::string one = "Text " + std::to_string(i % 3), two = "caption  " + std::to_string(i % 4);
    samples.push_back({"k" + std::to_string(100 + i), image, one + "\n" + two});
    for (const auto& text : {one, two}) {
      images_of[text::normalized_text(text)].insert(image);
      texts_of[image].insert(text::normalized_text(text));
    }
  }
  auto map_task = shard_task("s", samples);
  std::string bytes_of_first;
  for (const auto& [range, partitions] :
       {std::pair<std::int64_t, std::int64_t>{40, 1}, {40, 3}, {7, 3}, {1, 8}}) {
    map_task.settings =
        jobs::settings_json(jobs::PairCountsSettings{.data = {"train"}, .partitions = partitions});
    jobs::Task merge_task;
    std::vector<jobs::InputsLine> lines;
    for (map_task.first = 0; map_task.first < 40; map_task.first += range) {
      map_task.count = std::min<std::int64_t>(range, 40 - map_task.first);
      map_task.output = out("map-" + std::to_string(map_task.first), "");
      const auto done = PairCountsMapStage().run(map_task, context_);
      EXPECT_EQ(done.counts.at("captions"), 2 * map_task.count);
      lines.push_back({{}, input(jobs::Role::kPairs, done.outputs[0].path)});
    }
    set_inputs(merge_task, lines);
    merge_task.settings = map_task.settings;
    merge_task.parts = partitions;
    std::vector<std::string> paths;
    std::int64_t texts = 0, images = 0;
    for (merge_task.part = 0; merge_task.part < partitions; ++merge_task.part) {
      merge_task.output = out("merge-" + std::to_string(merge_task.part), "");
      const auto done = PairCountsMergeStage().run(merge_task, context_);
      texts += done.counts.at("texts");
      images += done.counts.at("images");
      paths.push_back(done.outputs[0].path);
    }
    EXPECT_EQ(texts, 7);
    EXPECT_EQ(images, 5);
    const data::PairCounts counts(paths);
    for (const auto& [text, own] : images_of) {
      EXPECT_EQ(counts.others(data::PairFamily::kText, io::xxh3_128(text)), own.size());
    }
    for (const auto& [image, own] : texts_of) {
      EXPECT_EQ(counts.others(data::PairFamily::kImage, io::xxh3_128(image)), own.size());
    }
    if (partitions == 3) {
      if (bytes_of_first.empty()) bytes_of_first = io::read_file(paths[1]);
      EXPECT_EQ(io::read_file(paths[1]), bytes_of_first);
    }
  }
}

TEST_F(PairCountsTest, SamplesWithoutTextHaveNoPairs) {
  auto task = shard_task("labels", {{"0", "x", "", "1"}, {"1", "y", "", "0"}});
  task.settings = jobs::settings_json(jobs::PairCountsSettings{.data = {"train"}});
  const auto done = PairCountsMapStage().run(task, context_);
  EXPECT_EQ(done.counts.at("in"), 2);
  EXPECT_EQ(done.counts.at("pairs"), 0);
}

}  // namespace
}  // namespace trireme::worker::stages::pair_counts
