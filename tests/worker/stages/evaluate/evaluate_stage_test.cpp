#include "worker/stages/evaluate/evaluate_stage.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "common/io/hash.h"
#include "common/telemetry/metrics.h"
#include "tests/worker/stages/evaluate/evaluate_fixture.h"
#include "worker/embedding/texts.h"
#include "worker/stages/evaluate/probe_stage.h"

namespace trireme::worker::stages::evaluate {
namespace {

class EvaluateTest : public EvaluateFixture {
 protected:
  // Ranges as the embed tasks leave them, with the shard and the model in front.
  void set_features(const std::vector<checkpoint::Features>& ranges, const std::string& model) {
    std::vector<jobs::InputsLine> lines;
    lines.push_back({jobs::ShardRef{.data = "test", .path = (folder_ / "0.tar").string()}, {}});
    lines.push_back({{}, input(jobs::Role::kModel, model)});
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      const auto path = out("range-" + std::to_string(i), ".features.safetensors");
      checkpoint::write_features(path, ranges[i]);
      lines.push_back({{}, input(jobs::Role::kFeatures, path)});
    }
    set_inputs(task_, lines);
    task_.settings = jobs::settings_json(settings_);
  }

  std::string weights() {
    io::make_folders(folder_ / "run");
    io::write_file_atomic(folder_ / "run" / "model.safetensors", "weights", false);
    io::write_file_atomic(folder_ / "run" / "log.jsonl", "{\"seconds\":1.5}\n", false);
    return (folder_ / "run").string();
  }
};

// Twelve sets of one model do not read its gigabytes twelve times.
TEST_F(EvaluateTest, WeightsAreHashedOnceWhileTheyStayWhatTheyAre) {
  const auto one = at::eye(2);
  const auto sample = at::tensor({0, 1}, at::kLong);
  settings_.recall_k = {1};
  set_features({{"shared", sample, one, one, sample, {}}}, weights());
  EvaluateStage stage;
  const auto hashed = [&](EvaluateStage& by) {
    const auto done = by.run(task_, context_);
    return nlohmann::json::parse(io::read_file(done.outputs.at(0).path)).at("pretrained").get<std::string>();
  };
  const auto first = hashed(stage);
  const std::filesystem::path file = (folder_ / "run" / "model.safetensors").string();
  const auto time = std::filesystem::last_write_time(file);
  std::fstream(file, std::ios::in | std::ios::out) << "WEIGHTS";  // in place, as nobody does it
  std::filesystem::last_write_time(file, time);
  EXPECT_EQ(hashed(stage), first);
  EvaluateStage other;
  EXPECT_EQ(hashed(other), io::hex(io::xxh3_64("WEIGHTS")));
  std::filesystem::last_write_time(file, time + std::chrono::seconds(1));
  EXPECT_EQ(hashed(stage), hashed(other));
}

TEST_F(EvaluateTest, RetrievalOverRanges) {
  // Image i is e_i; its two captions point at e_i, but those of image 3 at e_0.
  const auto one = at::eye(4);
  const auto sample = at::tensor({0, 1}, at::kLong), owner = at::tensor({0, 0, 1, 1}, at::kLong);
  const auto last_texts = one.index_select(0, at::tensor({2, 2, 0, 0}, at::kLong));
  set_features(
      {{"shared", sample, one.narrow(0, 0, 2), one.narrow(0, 0, 2).repeat_interleave(2, 0), owner, {}},
       {"shared", sample + 2, one.narrow(0, 2, 2), last_texts, owner, {}}},
      weights());
  telemetry::Metrics metrics("", 0);
  context_.metrics = &metrics;
  const auto done = EvaluateStage().run(task_, context_);
  const auto result = nlohmann::json::parse(io::read_file(done.outputs.at(0).path));
  EXPECT_NE(metrics.exposition().find("trireme_evaluation_value"), std::string::npos);
  EXPECT_NE(metrics.exposition().find(R"(set="test")"), std::string::npos) << metrics.exposition();
  EXPECT_NE(metrics.exposition().find(R"(metric="mean_recall@1")"), std::string::npos);
  // Its weights are what a model is: logs with times beside them change nothing.
  EXPECT_EQ(result.at("pretrained"), io::hex(io::xxh3_64("weights")));
  EXPECT_EQ(result.at("task"), "zeroshot_retrieval");
  EXPECT_EQ(result.at("dataset"), "test");
  EXPECT_EQ(result.at("language"), "en");
  EXPECT_EQ(result.at("metrics").at("image_retrieval_recall@1"), 0.75);
  EXPECT_EQ(result.at("metrics").at("text_retrieval_recall@1"), 0.75);
  EXPECT_EQ(result.at("metrics").at("mean_recall@1"), 0.75);
  const auto summary = nlohmann::json::parse(done.summary);
  EXPECT_EQ(summary.at("chance").at("image_retrieval_recall@2"), 0.5);
  EXPECT_EQ(summary.at("images"), 4);
  EXPECT_EQ(summary.at("captions"), 8);
  settings_.recall_k = {5};
  task_.settings = jobs::settings_json(settings_);
  EXPECT_THROW(EvaluateStage().run(task_, context_), Error);  // more than the candidates
}

TEST_F(EvaluateTest, ZeroShotWithThePromptsOfTheModel) {
  const std::string folder = (folder_ / "model").string();
  models::DualEncoder model(testing::small_model(false), 0);
  model.save(folder, "{}");
  const std::vector<std::string> classes = {"red cat", "green dog", "blue ship", "horse", "truck", "deer"};
  std::vector<std::string> prompts;
  for (const auto& name : classes) prompts.push_back("a photo of a " + name + ".");
  // Pictures that lie exactly on the class vectors; the last one is labelled wrongly.
  const auto image = embedding::encode_texts(model, "cpu", prompts, true).rows;
  const auto label = at::tensor({0, 1, 2, 3, 4, 0}, at::kLong);
  auto data = testing::test_data();
  data.classes = classes;
  task_.data = jobs::data_json(data);
  set_features({{"shared", at::arange(6), image, {}, {}, label}}, folder);
  const auto done = EvaluateStage().run(task_, context_);
  const auto result = nlohmann::json::parse(io::read_file(done.outputs.at(0).path));
  EXPECT_EQ(result.at("task"), "zeroshot_classification");
  EXPECT_NEAR(result.at("metrics").at("acc1").get<double>(), 5.0 / 6, 1e-12);
  EXPECT_NEAR(result.at("metrics").at("mean_per_class_recall").get<double>(), 4.5 / 5, 1e-12);
  EXPECT_TRUE(result.at("metrics").contains("acc5"));
  EXPECT_TRUE(nlohmann::json::parse(done.summary).at("bare_names").contains("acc1"));
  task_.data = jobs::data_json(testing::test_data());
  EXPECT_THROW(EvaluateStage().run(task_, context_), Error);  // labels without names
}

TEST(ChooseTask, LabelsBeforeTexts) {
  checkpoint::Features features;
  features.sample = at::arange(2);
  features.text = at::ones({2, 3});
  EXPECT_EQ(choose_task(jobs::EvaluateTask::kAuto, features, "d"), jobs::EvaluateTask::kRetrieval);
  EXPECT_THROW(choose_task(jobs::EvaluateTask::kZeroShot, features, "d"), Error);
  features.label = at::tensor({-1, 4}, at::kLong);
  EXPECT_EQ(choose_task(jobs::EvaluateTask::kAuto, features, "d"), jobs::EvaluateTask::kZeroShot);
  EXPECT_EQ(choose_task(jobs::EvaluateTask::kRetrieval, features, "d"), jobs::EvaluateTask::kRetrieval);
  features.text = at::Tensor();
  EXPECT_THROW(choose_task(jobs::EvaluateTask::kRetrieval, features, "d"), Error);
}

TEST_F(EvaluateTest, NothingEmbeddedIsSaidSo) {
  set_features({{"shared", at::empty({0}, at::kLong), at::empty({0, 4}), {}, {}, {}}}, "unused");
  try {
    EvaluateStage().run(task_, context_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'test'"), std::string::npos);
  }
}

class ProbeTest : public EvaluateTest {
 protected:
  // Ten classes round the unit vectors, 40 pictures to learn from and 20 to be judged by.
  ProbeTest() {
    settings_.train_data = "train";
    settings_.recall_k = {1, 3};
    settings_.shots = {1, 2};
    settings_.shot_seeds = 2;
    auto data = testing::test_data();
    for (int c = 0; c < 10; ++c) data.classes.push_back("class " + std::to_string(c));
    task_.data = jobs::data_json(data);
  }

  void set_both() {
    auto generator = at::detail::createCPUGenerator(3);
    const auto features = [&](std::int64_t count) {
      const auto label = at::arange(count) % 10;
      const auto rows = at::eye(10, 16).index_select(0, label) + 0.1 * at::randn({count, 16}, generator);
      return checkpoint::Features{"shared", at::arange(count), rows / rows.norm(2, {1}, true), {}, {}, label};
    };
    const std::string folder = (folder_ / "model").string();
    models::DualEncoder(testing::small_model(false), 0).save(folder, "{}");
    std::vector<jobs::InputsLine> lines;
    for (const auto& [data, count] : {std::pair{"test", 20}, std::pair{"train", 40}}) {
      lines.push_back({jobs::ShardRef{.data = data, .path = (folder_ / "0.tar").string()}, {}});
      const auto path = out(data, ".features.safetensors");
      checkpoint::write_features(path, features(count));
      auto file = input(jobs::Role::kFeatures, path);
      file.data = data;
      lines.push_back({{}, file});
    }
    lines.push_back({{}, input(jobs::Role::kModel, folder)});
    set_inputs(task_, lines);
    task_.settings = jobs::settings_json(settings_);
  }

  // What the probe task of the stage leaves, which the evaluate task reads.
  void add_probe() {
    jobs::Task task = task_;
    task.output = out("probe", "");
    const auto done = ProbeStage().run(task, context_);
    ASSERT_EQ(done.outputs.size(), 1);
    auto lines = runtime::read_inputs(task_);
    lines.push_back({{}, input(jobs::Role::kProbe, done.outputs.at(0).path)});
    set_inputs(task_, lines);
  }

  nlohmann::json run(const std::string& task) {
    settings_.task = from_name<jobs::EvaluateTask>(task).value();
    set_both();
    if (settings_.task == jobs::EvaluateTask::kLinearProbe) add_probe();
    const auto done = EvaluateStage().run(task_, context_);
    summary_ = nlohmann::json::parse(done.summary);
    EXPECT_EQ(summary_.at("images"), 20);
    EXPECT_EQ(summary_.at("train_images"), 40);
    return nlohmann::json::parse(io::read_file(done.outputs.at(0).path));
  }

  nlohmann::json summary_;
};

TEST_F(ProbeTest, LinearProbeLearnsFromTheOtherSet) {
  const auto result = run("linear_probe");
  EXPECT_EQ(result.at("task"), "linear_probe");
  EXPECT_EQ(result.at("dataset"), "test");
  EXPECT_GT(result.at("metrics").at("acc1"), 0.9);
  EXPECT_EQ(result.at("chance").at("acc1"), 0.1);
  EXPECT_GT(summary_.at("c"), 0);
}

TEST_F(ProbeTest, Neighbours) {
  const auto result = run("knn");
  EXPECT_GT(result.at("metrics").at("knn_recall@1"), 0.9);
  EXPECT_NEAR(result.at("chance").at("knn_recall@1"), 0.1, 1e-9);
}

TEST_F(ProbeTest, FewShotHasAllArmsAndTheirSpread) {
  const auto result = run("few_shot");
  for (const char* name : {"zero_shot_acc1", "probe_acc1@1", "prompt_l2_acc1@1", "prompt_ball_acc1@2"}) {
    EXPECT_GE(result.at("metrics").at(name), 0) << name;
    EXPECT_GE(summary_.at("spread").at(name), 0) << name;
  }
  EXPECT_GT(result.at("metrics").at("prompt_ball_acc1@2"), result.at("metrics").at("zero_shot_acc1"));
  const auto again = run("few_shot");
  EXPECT_EQ(again, result);
}

TEST_F(ProbeTest, NamesTheSetThatHasNoLabels) {
  settings_.task = jobs::EvaluateTask::kKnn;
  set_both();
  const auto path = out("train", ".features.safetensors");
  checkpoint::write_features(path, {"shared", at::arange(4), at::eye(4, 16), {}, {}, {}});
  try {
    EvaluateStage().run(task_, context_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'train'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace trireme::worker::stages::evaluate
