#include "worker/stages/near_duplicates/near_duplicates_stage.h"

#include "jobs/spec/job_spec.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/data/near_duplicates.h"

namespace trireme::worker::stages::near_duplicates {
namespace {

using testing::test_jpeg;

class NearDuplicatesTest : public testing::StageTest {};

TEST_F(NearDuplicatesTest, SignaturesPairsAndClusters) {
  data::Image picture;
  ASSERT_EQ(data::decode_image(test_jpeg(320, 240, 1), {}, picture), "");
  auto task = shard_task("a", {{"00", test_jpeg(320, 240, 1), "x"},
                               {"01", test_jpeg(320, 240, 2), "x"},
                               {"02", "no picture", "x"},
                               {"03", data::encode_jpeg(picture, 40), "x"},
                               {"04", test_jpeg(320, 240, 1), "x"},
                               {"05", test_jpeg(160, 120, 3), "x"}});
  task.settings = jobs::settings_json(jobs::NearDuplicatesSettings{.data = {"train"}});
  std::string before;
  for (const std::int64_t step : {6, 4}) {
    std::vector<jobs::InputsLine> lines;
    for (task.first = 0; task.first < 6; task.first += step) {
      task.count = step;
      task.output = out("range" + std::to_string(step) + "-" + std::to_string(task.first), "");
      context_.threads = static_cast<int>(step) - 3;
      const auto done = SignaturesStage().run(task, context_);
      lines.push_back({{}, input("signatures", done.outputs.at(0).path)});
      EXPECT_EQ(done.counts.at("in") - done.counts.at("hashed"), task.first == 0 ? 1 : 0);
    }
    jobs::Task merge = task;
    merge.shard.reset();
    merge.count = 2;
    set_inputs(merge, lines);
    for (merge.first = 0; merge.first < 2; ++merge.first) {
      merge.output = out("pairs" + std::to_string(merge.first), "");
      const auto done = NearPairsStage().run(merge, context_);
      lines.push_back({{}, input("near_pairs", done.outputs.at(0).path)});
    }
    set_inputs(merge, lines);
    merge.output = out("clusters", "");
    const auto done = NearClustersStage().run(merge, context_);
    EXPECT_EQ(done.counts.at("images"), 5);
    EXPECT_EQ(done.counts.at("clusters"), 1);
    EXPECT_EQ(done.counts.at("copies"), 2);
    const data::NearClusters clusters({done.outputs.at(0).path});
    for (const char* copy : {"train/0/3", "train/0/4"})
      EXPECT_EQ(clusters.kept_for(copy)->place, "train/0/0");
    EXPECT_FALSE(clusters.kept_for("train/0/1"));
    const std::string bytes = io::read_file(done.outputs.at(0).path);
    EXPECT_TRUE(before.empty() || bytes == before);
    before = bytes;
  }
}

}  // namespace
}  // namespace trireme::worker::stages::near_duplicates
