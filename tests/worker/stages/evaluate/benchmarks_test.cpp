// Tasks of benchmarks that need more than pictures and captions: ratings, words, entailment, answers; and
// what is odd about a set.
#include <limits>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "tests/support/tar_writer.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/embedding/texts.h"
#include "worker/stages/evaluate/evaluate_stage.h"

namespace trireme::worker::stages::evaluate {
namespace {

using nlohmann::json;

const float kNan = std::numeric_limits<float>::quiet_NaN();

class BenchmarkTest : public testing::StageTest {
 protected:
  BenchmarkTest() {
    task_.stage = "evaluate";
    task_.output = out("evaluate", "");
    task_.data = jobs::data_json(testing::test_data());
    settings_.data = "test";
    settings_.model = "train";
    settings_.recall_k = {1, 2};
  }

  struct Sample {
    std::string key, captions, json;
  };
  void add_set(const std::string& data, const std::vector<Sample>& samples, checkpoint::Features features) {
    testing::TarWriter tar;
    for (const auto& sample : samples) {
      tar.add(sample.key + ".jpg", "picture");
      if (!sample.captions.empty()) tar.add(sample.key + ".txt", sample.captions);
      if (!sample.json.empty()) tar.add(sample.key + ".json", sample.json);
    }
    const auto path = folder_ / (data + ".tar"), index = folder_ / (data + ".idx");
    io::write_file_atomic(path, tar.bytes(), false);
    worker::data::build_shard_index(path, jobs::DataFormat::kClipBenchmark, {}, index);
    lines_.push_back(
        {jobs::ShardRef{.data = data, .path = path.string(), .format = jobs::DataFormat::kClipBenchmark},
         {}});
    lines_.push_back({{}, named(jobs::Role::kShardIndex, index.string(), data)});
    features.space = space_;
    const auto file = out(data, ".features.safetensors");
    checkpoint::write_features(file, features);
    lines_.push_back({{}, named(jobs::Role::kFeatures, file, data)});
  }

  static jobs::InputFile named(jobs::Role role, const std::string& path, const std::string& data) {
    auto file = input(role, path);
    file.data = data;
    return file;
  }

  std::string model_folder() {
    const std::string folder = (folder_ / "model").string();
    if (!io::is_folder(folder)) models::DualEncoder(testing::small_model(false), 0).save(folder, "{}");
    return folder;
  }

  json run() {
    lines_.push_back({{}, input(jobs::Role::kModel, model_folder())});
    set_inputs(task_, lines_);
    task_.settings = jobs::settings_json(settings_);
    const auto done = EvaluateStage().run(task_, context_);
    summary_ = json::parse(done.summary);
    return json::parse(io::read_file(done.outputs.at(0).path));
  }

  std::string refused() {
    try {
      run();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return "";
  }

  std::string file(const std::string& name, const std::string& text) {
    io::write_file_atomic(folder_ / name, text, false);
    return (folder_ / name).string();
  }

  jobs::Task task_;
  jobs::EvaluateSettings settings_;
  std::vector<jobs::InputsLine> lines_;
  std::string space_ = "shared";
  json summary_;
};

at::Tensor unit(const at::Tensor& rows) {
  return rows / rows.norm(2, {1}, true);
}

// ---- what is odd ----

TEST_F(BenchmarkTest, TiesNanAndEmptyClassesAreCounted) {
  auto data = testing::test_data();
  data.classes = {"cat", "cat", "ship", "tree"};  // two classes of one name have one vector
  task_.data = jobs::data_json(data);
  const auto model = models::DualEncoder::load(model_folder());
  const auto cat = embedding::encode_texts(*model, "cpu", {"a photo of a cat."}, true).rows;
  const auto ship = embedding::encode_texts(*model, "cpu", {"a photo of a ship."}, true).rows;
  add_set("test", {{"a", "", ""}, {"b", "", ""}, {"c", "", ""}, {"d", "", ""}, {"e", "", ""}},
          {"",
           at::arange(5),
           at::cat({cat, cat, ship, at::full_like(cat, kNan), cat}),
           {},
           {},
           at::tensor({0, 1, 2, 2, -1}, at::kLong)});
  const auto result = run();
  EXPECT_EQ(result.at("counts").at("ties"), 2);
  EXPECT_EQ(result.at("counts").at("not_finite"), 1);
  EXPECT_EQ(result.at("counts").at("empty_classes"), 1);  // trees
  EXPECT_EQ(result.at("counts").at("without_label"), 1);
  EXPECT_EQ(result.at("metrics").at("acc1"), 0.5);  // 0 right, 1 loses the tie to 0, 2 right, NaN a miss
  EXPECT_NEAR(result.at("metrics").at("mean_per_class_recall").get<double>(), (1 + 0 + .5) / 3, 1e-12);
  EXPECT_EQ(result.at("rules").size(), 3U);
}

TEST_F(BenchmarkTest, LabelsOutsideTheNamesAndAnotherCountAreRefused) {
  auto data = testing::test_data();
  data.classes = {"cat", "ship"};
  task_.data = jobs::data_json(data);
  add_set("test", {{"a", "", ""}},
          {"", at::arange(1), unit(at::ones({1, 16})), {}, {}, at::tensor({2}, at::kLong)});
  const std::string why = refused();
  EXPECT_NE(why.find("label 2 is outside the 2 classes"), std::string::npos) << why;
  lines_.pop_back();
  settings_.class_count = 3;
  EXPECT_NE(refused().find("has 2 class names, not 3"), std::string::npos);
}

TEST_F(BenchmarkTest, CaptionsInAnotherLanguageThanNamedAreRefused) {
  const std::string german =
      "Zwei Männer stehen am Herd und bereiten Essen zu, während eine Frau ihnen von der Tür aus zusieht.";
  const std::string english =
      "Two men are standing at the stove preparing food while a woman is watching them from the door.";
  const auto add = [&](const std::string& first, const std::string& second) {
    lines_.clear();
    add_set("test", {{"a", first + "\n" + first, ""}, {"b", second + "\n" + second, ""}},
            {"",
             at::arange(2),
             at::eye(2),
             at::eye(2).repeat_interleave(2, 0),
             at::tensor({0, 0, 1, 1}, at::kLong),
             {}});
  };
  settings_.language = "de";
  add(english, english);
  const std::string why = refused();
  EXPECT_NE(
      why.find("4 of 4 captions of data set 'test' are in another language than \"de\", 4 of them in \"en\""),
      std::string::npos)
      << why;
  add(german, german);
  EXPECT_EQ(run().at("counts").at("another_language"), 0);
  settings_.language = "";  // nobody has said what they are in
  add(english, english);
  EXPECT_FALSE(run().at("counts").contains("another_language"));
}

TEST_F(BenchmarkTest, AnItemWithoutOneOfItsPicturesIsNamed) {
  settings_.task = jobs::EvaluateTask::kChoice;
  settings_.group_field = "item";
  settings_.recall_k = {};
  const auto add = [&](const std::string& last) {
    lines_.clear();
    add_set("test",
            {{"a", "one", R"({"item": 1})"},
             {"b", "two", R"({"item": 1})"},
             {"c", "three", R"({"item": 2})"},
             {"d", "four", last}},
            {"",
             at::arange(4),
             at::eye(4),
             at::eye(4).index_select(0, at::tensor({0, 0, 2, 3}, at::kLong)),
             at::arange(4),
             {}});
  };
  add(R"({"item": 3})");
  const std::string why = refused();
  EXPECT_NE(why.find("item 2 of data set 'test' has 1 pictures and 1 captions"), std::string::npos) << why;
  add("{}");
  EXPECT_NE(refused().find("has no member \"item\""), std::string::npos);
  add(R"({"item": 2})");
  const auto result = run();
  EXPECT_EQ(result.at("counts").at("items"), 2);
  EXPECT_EQ(result.at("counts").at("ties"), 1);  // both captions of item 1 are one
  EXPECT_EQ(result.at("metrics").at("acc"), 0.5);
  EXPECT_EQ(result.at("rules").at(0), "a tie is wrong");
}

TEST_F(BenchmarkTest, RetrievalCountsTiesAndPicturesWithoutACaption) {
  settings_.also = {jobs::AlsoMetric::kMeanRecall};
  add_set("test", {{"a", "one\ntwo", ""}, {"b", "three\nfour", ""}, {"c", "", ""}},
          {"",
           at::arange(3),
           at::tensor({1., 0., 1., 0., 0., 1.}, at::kFloat).view({3, 2}),
           at::tensor({1., 0., 1., 0., 0., 1., 0., 1.}, at::kFloat).view({4, 2}),
           at::tensor({0, 0, 1, 1}, at::kLong),
           {}});
  const auto result = run();
  EXPECT_EQ(result.at("metrics").at("image_retrieval_recall@1"), 0.5);
  // mR is of pictures and texts alone: 1, .5 of text -> image and .5, .5 of image -> text by k 1 and 2.
  EXPECT_NEAR(result.at("metrics").at("mean_recall").get<double>(), (.5 + .5 + .5 + .5) / 4, 1e-12);
  EXPECT_EQ(result.at("counts").at("images_without_caption"), 1);
  EXPECT_GT(result.at("counts").at("ties"), 0);
}

}  // namespace
}  // namespace trireme::worker::stages::evaluate
