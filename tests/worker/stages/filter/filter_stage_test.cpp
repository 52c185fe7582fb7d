#include "worker/stages/filter/filter_stage.h"

#include <nlohmann/json.hpp>

#include "common/io/hash.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/data/pair_counts.h"
#include "worker/data/verdicts.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::filter {
namespace {

using testing::test_jpeg;

class FilterTest : public testing::StageTest {
 protected:
  jobs::Task task_of_all_kinds() {
    const auto good = test_jpeg(320, 240, 1);
    auto task = shard_task("a", {{"00", good, "a dog runs over grass"},
                                 {"01", test_jpeg(150, 150, 2), "a dog runs over grass"},
                                 {"02", test_jpeg(640, 210, 3), "two words"},
                                 {"03", "this is no picture", "a cat sleeps on a sofa"},
                                 {"04", good.substr(0, good.size() / 2), "a cat sleeps on a sofa"},
                                 {"05", test_jpeg(300, 260, 4), "dog\na brown dog in deep snow\ncat"},
                                 {"06", test_jpeg(300, 260, 5), "", "3"}});
    task.settings = jobs::settings_json(jobs::FilterSettings{.data = {"train"}});
    return task;
  }
};

TEST_F(FilterTest, CountsVerdictsAndThumbnails) {
  const auto task = task_of_all_kinds();
  const auto done = FilterStage().run(task, context_);
  const auto count = [&](const std::string& name) {
    return done.counts.contains(name) ? done.counts.at(name) : 0;
  };
  EXPECT_EQ(count("in"), 7);
  EXPECT_EQ(count("kept"), 3);
  EXPECT_EQ(count("dropped"), 4);
  EXPECT_EQ(count("dropped.short_side"), 1);
  EXPECT_EQ(count("dropped.aspect"), 1);
  EXPECT_EQ(count("dropped.min_words"), 1);
  EXPECT_EQ(count("dropped.bad_decode"), 2);
  EXPECT_EQ(count("captions.dropped.min_words"), 3);
  std::int64_t bad = 0;
  for (const auto& [name, value] : done.counts) {
    if (name.starts_with("bad.")) bad += value;
  }
  EXPECT_EQ(bad, 2);
  ASSERT_EQ(done.outputs.size(), 2u);
  const auto verdicts = data::read_verdicts(done.outputs[0].path);
  EXPECT_EQ(verdicts.kept, (std::vector<std::int32_t>{0, 5, 6}));
  EXPECT_NE(io::read_file(done.outputs[0].path).find(R"("sample":5,"key":"05","kept":true,"captions":[1])"),
            std::string::npos);
  int kept = 0, with_picture = 0, lines = 0;
  const std::string thumbnails = io::read_file(done.outputs[1].path);
  for (std::size_t at = 0; at < thumbnails.size(); at = thumbnails.find('\n', at) + 1) {
    const auto row = nlohmann::json::parse(thumbnails.substr(at, thumbnails.find('\n', at) - at));
    ++lines;
    kept += row.at("kept").get<bool>();
    with_picture += row.contains("jpeg");
    EXPECT_EQ(row.contains("rule"), !row.at("kept").get<bool>());
  }
  EXPECT_EQ(lines, 7);
  EXPECT_EQ(kept, 3);
  EXPECT_EQ(with_picture, 5);
}

TEST_F(FilterTest, BytesDoNotDependOnThreadsAndRangesAddUp) {
  auto task = task_of_all_kinds();
  const auto whole = FilterStage().run(task, context_);
  const std::string bytes = io::read_file(whole.outputs[0].path),
                    pictures = io::read_file(whole.outputs[1].path);
  context_.threads = 1;
  FilterStage().run(task, context_);
  EXPECT_EQ(io::read_file(whole.outputs[0].path), bytes);
  EXPECT_EQ(io::read_file(whole.outputs[1].path), pictures);
  std::map<std::string, std::int64_t> sums;
  std::vector<std::int32_t> kept;
  for (task.first = 0, task.count = 3; task.first < 7; task.first += 3) {
    const auto part = FilterStage().run(task, context_);
    for (const auto& [name, value] : part.counts) sums[name] += value;
    const auto verdicts = data::read_verdicts(part.outputs[0].path);
    kept.insert(kept.end(), verdicts.kept.begin(), verdicts.kept.end());
  }
  EXPECT_EQ(sums, whole.counts);
  EXPECT_EQ(kept, (std::vector<std::int32_t>{0, 5, 6}));
}

TEST_F(FilterTest, CountedRulesReadTheTally) {
  auto task = task_of_all_kinds();
  const data::ShardReader shard(task.shard->path, task.inputs[0].path);
  const auto text = io::xxh3_128(text::normalized_text("A  dog runs over grass"));
  std::string storage;
  const auto image = io::xxh3_128(shard.image_bytes(6, storage));
  const std::string path = out("counts", ".counts");
  data::write_counts(path, 0, 1, {{text, 11}}, {{image, 1001}});
  task.inputs.push_back(input("pair_counts", path));
  jobs::FilterSettings settings{.data = {"train"}};
  settings.max_images_per_text = 10;
  settings.max_texts_per_image = 1000;
  task.settings = jobs::settings_json(settings);
  FilterStage stage;
  const auto done = stage.run(task, context_);
  EXPECT_EQ(done.counts.at("dropped.images_per_text"), 2);  // samples 0 and 1 share the text
  EXPECT_EQ(done.counts.at("dropped.texts_per_image"), 1);
  EXPECT_EQ(done.counts.at("kept"), 1);
  task.inputs.pop_back();
  EXPECT_THROW(stage.run(task, context_), Error);  // a counted rule without a tally
}

TEST_F(FilterTest, StopsWhenAsked) {
  const auto task = task_of_all_kinds();
  stop_.stop();
  EXPECT_THROW(FilterStage().run(task, context_), Error);
}

}  // namespace
}  // namespace trireme::worker::stages::filter
