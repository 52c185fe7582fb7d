#include "worker/stages/embed/embed_stage.h"

#include <ATen/ATen.h>

#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/checkpoint/features.h"
#include "worker/embedding/texts.h"

namespace trireme::worker::stages::embed {
namespace {

using testing::test_jpeg;

class EmbedTest : public testing::StageTest {
 protected:
  jobs::Task task_of(bool frozen) {
    std::vector<testing::TestSample> samples;
    for (int i = 0; i < 11; ++i) {
      samples.push_back({"k" + std::to_string(10 + i), i == 4 ? "no picture" : test_jpeg(48 + i, 40, i),
                         "a dog " + std::to_string(i) + "\nsecond caption of it"});
    }
    auto task = shard_task("s", samples);
    task.model = jobs::model_json(testing::small_model(frozen));
    task.settings = jobs::settings_json(jobs::EmbedSettings{.data = {"train"}, .model = "m", .batch = 3});
    return task;
  }

  std::string save_model(bool frozen) {
    const std::string folder = (folder_ / "model").string();
    models::DualEncoder(testing::small_model(frozen), 0).save(folder, "{}");
    return folder;
  }

  checkpoint::Features run(jobs::Task task, const std::string& name, jobs::TaskDone* done = nullptr) {
    task.output = out(name, "");
    const auto result = EmbedStage().run(task, context_);
    if (done != nullptr) *done = result;
    return checkpoint::read_features(result.outputs.at(0).path);
  }
};

TEST_F(EmbedTest, FrozenTowersWithUndecodableLeftOut) {
  jobs::TaskDone done;
  const auto features = run(task_of(true), "a", &done);
  EXPECT_EQ(features.space, "tower");
  EXPECT_TRUE(at::equal(features.sample, at::tensor({0, 1, 2, 3, 5, 6, 7, 8, 9, 10}, at::kLong)));
  EXPECT_EQ(features.image.sizes(), (at::IntArrayRef{10, 32}));
  EXPECT_TRUE(at::equal(features.text_owner, at::arange(20).div(2, "floor").to(at::kLong)));
  EXPECT_FALSE(features.label.defined());
  EXPECT_EQ(done.counts.at("in"), 11);
  EXPECT_EQ(done.counts.at("embedded"), 10);
  EXPECT_EQ(done.counts.at("captions"), 20);
  EXPECT_EQ(done.counts.at("bad.unknown_format"), 1);
  models::DualEncoder model(testing::small_model(true), 0);
  const auto rows = embedding::encode_texts(model, "cpu", {"a dog 5", "second caption of it"}, false).rows;
  EXPECT_TRUE(at::allclose(features.text.narrow(0, 8, 2), rows, 1e-4, 1e-5));
}

TEST_F(EmbedTest, BytesDoNotDependOnThreads) {
  const auto task = task_of(true);
  run(task, "one");
  context_.threads = 4;
  run(task, "four");
  context_.threads = 1;
  run(task, "single");
  const auto bytes = io::read_file(out("one", ".features.safetensors"));
  EXPECT_EQ(io::read_file(out("four", ".features.safetensors")), bytes);
  EXPECT_EQ(io::read_file(out("single", ".features.safetensors")), bytes);
}

TEST_F(EmbedTest, OnlyFrozenTowersAreRun) {
  auto task = task_of(true);
  auto spec = testing::small_model(true);
  spec.image.frozen = false;
  task.model = jobs::model_json(spec);
  const auto features = run(task, "text");
  EXPECT_FALSE(features.image.defined());
  EXPECT_EQ(features.sample.size(0), 11);
  task.model = jobs::model_json(testing::small_model(false));
  EXPECT_THROW(run(task, "none"), Error);
}

TEST_F(EmbedTest, SharedSpaceFromPixelsEqualsFromStoredFeatures) {
  auto task = task_of(true);
  run(task, "tower");
  task.inputs.push_back(input(jobs::Role::kModel, save_model(true)));
  const auto direct = run(task, "direct");
  task.inputs.push_back(input(jobs::Role::kFeatures, out("tower", ".features.safetensors")));
  const auto projected = run(task, "projected");
  EXPECT_EQ(direct.space, "shared");
  EXPECT_TRUE(at::allclose(direct.image.norm(2, {1}), at::ones({10}), 0, 1e-5));
  EXPECT_TRUE(at::equal(direct.sample, projected.sample));
  EXPECT_TRUE(at::equal(direct.text_owner, projected.text_owner));
  EXPECT_TRUE(at::allclose(direct.image, projected.image, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(direct.text, projected.text, 1e-4, 1e-5));
}

TEST_F(EmbedTest, DroppedSamplesAreLeftOut) {
  auto task = task_of(true);
  std::string verdicts = R"({"format":"trireme-verdicts","version":1,"first":0,"count":11})"
                         "\n";
  for (int i = 0; i < 11; ++i) {
    verdicts += R"({"sample":)" + std::to_string(i) + R"(,"key":"k","kept":)" +
                (i % 2 == 0 ? "false" : "true") + "}\n";
  }
  const auto path = out("v", ".verdicts.jsonl");
  io::write_file_atomic(path, verdicts, false);
  task.inputs.push_back(input(jobs::Role::kVerdicts, path));
  EXPECT_TRUE(at::equal(run(task, "kept").sample, at::tensor({1, 3, 5, 7, 9}, at::kLong)));
}

TEST_F(EmbedTest, LabelsAndTemplates) {
  auto task = shard_task("l", {{"0", test_jpeg(40, 40, 1), "", "1"}, {"1", test_jpeg(40, 40, 2), "", "0"}});
  task.model = jobs::model_json(testing::small_model(true));
  task.settings = jobs::settings_json(jobs::EmbedSettings{.data = {"train"}, .model = "m"});
  auto data = testing::test_data();
  data.classes = {"cat", "dog"};
  data.caption_templates = {"a {c}", "the {c}", "one {c}"};
  task.data = jobs::data_json(data);
  const auto features = run(task, "labels");
  EXPECT_TRUE(at::equal(features.label, at::tensor({1, 0}, at::kLong)));
  EXPECT_EQ(features.text.size(0), 6);
}

}  // namespace
}  // namespace trireme::worker::stages::embed
