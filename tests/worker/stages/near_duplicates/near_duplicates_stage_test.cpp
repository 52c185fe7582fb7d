#include "worker/stages/near_duplicates/near_duplicates_stage.h"

#include <ATen/ATen.h>

#include "jobs/specification/job_spec.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/checkpoint/features.h"
#include "worker/data/tallies/near_duplicates.h"

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
      lines.push_back({{}, input(jobs::Role::kSignatures, done.outputs.at(0).path)});
      EXPECT_EQ(done.counts.at("in") - done.counts.at("hashed"), task.first == 0 ? 1 : 0);
    }
    jobs::Task merge = task;
    merge.shard.reset();
    merge.parts = 2;
    set_inputs(merge, lines);
    for (merge.part = 0; merge.part < 2; ++merge.part) {
      merge.output = out("pairs" + std::to_string(merge.part), "");
      const auto done = NearPairsStage().run(merge, context_);
      lines.push_back({{}, input(jobs::Role::kNearPairs, done.outputs.at(0).path)});
    }
    set_inputs(merge, lines);
    merge.output = out("clusters", "");
    const auto done = NearClustersStage().run(merge, context_);
    EXPECT_EQ(done.counts.at("samples"), 5);
    EXPECT_EQ(done.counts.at("clusters"), 1);
    EXPECT_EQ(done.counts.at("copies"), 2);
    const data::NearClusters clusters({done.outputs.at(0).path});
    for (const char* copy : {"train/0/3", "train/0/4"})
      EXPECT_EQ(clusters.kept_for("hash", copy)->place, "train/0/0");
    EXPECT_FALSE(clusters.kept_for("hash", "train/0/1"));
    const std::string bytes = io::read_file(done.outputs.at(0).path);
    EXPECT_TRUE(before.empty() || bytes == before);
    before = bytes;
  }
}

// From features to clusters: by lists from some number of images on, by every pair below, with one result.
TEST_F(NearDuplicatesTest, ByEmbeddingWithListsOrWithout) {
  at::manual_seed(1);
  auto image = at::randn({300, 32});
  image.narrow(0, 200, 100).copy_(image.narrow(0, 0, 100) + 0.05 * at::randn({100, 32}));
  const std::string features = out("f", ".features.safetensors");
  checkpoint::write_features(features, {"tower", at::arange(300, at::kLong), image, {}, {}, {}});
  std::string before;
  for (const auto search : {jobs::SearchKind::kAuto, jobs::SearchKind::kApproximate}) {
    jobs::Task task;
    task.stage = "near";
    task.settings = jobs::settings_json(jobs::NearDuplicatesSettings{.data = {"train"},
                                                                     .by = jobs::NearBy::kEmbedding,
                                                                     .model = "m",
                                                                     .search = search,
                                                                     .least_recall = 1});
    std::vector<jobs::InputsLine> lines{{{}, input(jobs::Role::kFeatures, features)}};
    const auto run = [&](runtime::Stage& stage, const std::string& name) {
      set_inputs(task, lines);
      task.parts = 1;
      task.output = out(name, "");
      return stage.run(task, context_);
    };
    NearListsStage many(301), listed;
    NearPairsStage pairs;
    NearClustersStage clusters;
    const bool whole = search == jobs::SearchKind::kAuto;
    const auto made = run(whole ? static_cast<runtime::Stage&>(many) : listed, "lists");
    EXPECT_EQ(made.counts.count("lists_looked_at"), whole ? 0u : 1u);
    lines.push_back({{}, input(jobs::Role::kNearLists, made.outputs.at(0).path)});
    lines.push_back({{}, input(jobs::Role::kNearPairs, run(pairs, "pairs").outputs.at(0).path)});
    const auto done = run(clusters, "clusters");
    EXPECT_EQ(done.counts.at("copies"), 100);
    const std::string bytes = io::read_file(done.outputs.at(0).path);
    EXPECT_EQ(bytes.find("\"recall\":") == std::string::npos, whole);
    const std::string body = bytes.substr(bytes.find('\n'));
    EXPECT_TRUE(before.empty() || body == before);
    before = body;
  }
}

TEST_F(NearDuplicatesTest, ByCaption) {
  auto task = shard_task("a", {{"00", "x", "Two dogs run through the deep snow of the park"},
                               {"01", "x", "two dogs RUN through the deep snow of the park!"},
                               {"02", "x", "..."},
                               {"03", "x", "two dogs run through the deep snow of a park"},
                               {"04", "x", "two cats sleep on the warm roof of the house"}});
  task.settings = jobs::settings_json(
      jobs::NearDuplicatesSettings{.data = {"train"}, .by = jobs::NearBy::kCaption, .least_jaccard = 0.6});
  std::vector<jobs::InputsLine> lines;
  for (task.first = 0; task.first < 6; task.first += 3) {
    task.count = 3;
    task.output = out("range" + std::to_string(task.first), "");
    const auto done = SignaturesStage().run(task, context_);
    EXPECT_EQ(done.counts.at("hashed"), 2);
    lines.push_back({{}, input(jobs::Role::kSignatures, done.outputs.at(0).path)});
  }
  jobs::Task merge = task;
  merge.shard.reset();
  merge.parts = 1;
  merge.part = 0;
  set_inputs(merge, lines);
  merge.output = out("pairs", "");
  lines.push_back(
      {{}, input(jobs::Role::kNearPairs, NearPairsStage().run(merge, context_).outputs.at(0).path)});
  set_inputs(merge, lines);
  merge.output = out("clusters", "");
  const auto done = NearClustersStage().run(merge, context_);
  EXPECT_EQ(done.counts.at("samples"), 4);
  const data::NearClusters clusters({done.outputs.at(0).path});
  EXPECT_EQ(clusters.kept_for("caption", "train/0/1")->measure, 1);
  EXPECT_EQ(clusters.kept_for("caption", "train/0/3")->place, "train/0/0");
  EXPECT_NEAR(clusters.kept_for("caption", "train/0/3")->measure, 7.0 / 11, 1e-6);
  EXPECT_FALSE(clusters.kept_for("caption", "train/0/4"));
}

}  // namespace
}  // namespace trireme::worker::stages::near_duplicates
