#include "worker/stages/evaluate/analogies.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "tests/worker/stages/support/stage_fixture.h"

namespace trireme::worker::stages::evaluate {
namespace {

using nlohmann::json;

struct Drawn {
  std::string shape, colour, ground;
};

// One direction for each shape, colour and ground; a picture on grass has a little more of its colour, so
// that words alone prefer it.
at::Tensor direction_of(const Drawn& scene) {
  auto row = at::zeros({6});
  row[scene.shape == "star" ? 1 : 0] = 1;
  row[scene.colour == "red" ? 3 : 2] = scene.ground == "grass" ? 1.2 : 1;
  if (scene.ground != "nowhere") row[scene.ground == "grass" ? 5 : 4] = 1;
  return row / row.norm();
}

class AnalogiesTest : public testing::StageTest {
 protected:
  // Two of every scene, and one with two objects that asks for nothing.
  AnalogiesTest() {
    for (const char* shape : {"circle", "star"})
      for (const char* colour : {"blue", "red"})
        for (const char* ground : {"", "grass"})
          for (int i = 0; i < 2; ++i) add({shape, colour, ground}, {{shape, 0.8}});
    add({"star", "red", ""}, {{"star", 0.5}, {"ring", 0.5}});
    rows_.back() = -rows_.back();  // near nothing
    task_ = shard_task("s", {{"k", testing::test_jpeg(16, 16, 1), "x"}});
    write(tar_);
    task_.settings = jobs::settings_json(jobs::EvaluateSettings{.data = "train", .model = "m"});
    set_inputs(task_, {{*task_.shard, {}}, {{}, task_.inputs[0]}});
  }

  void add(const Drawn& scene, json objects) {
    const std::string key = "k" + std::to_string(100 + rows_.size());
    if (!scene.ground.empty()) objects[scene.ground] = 0.2;
    tar_.add(key + ".jpg", testing::test_jpeg(16, 16, 1));
    tar_.add(key + ".json",
             json{{"objects", objects}, {"attributes", {{scene.colour, 0.8}, {"small", 0.2}}}}.dump());
    places_.push_back({0, static_cast<std::int64_t>(rows_.size())});
    rows_.push_back(direction_of(scene));
  }

  void write(testing::TarWriter& tar) {
    io::write_file_atomic(folder_ / "s.tar", tar.bytes(), false);
    data::build_shard_index(folder_ / "s.tar", jobs::DataFormat::kClipBenchmark,
                            {.captions = jobs::CaptionForm::kNone}, folder_ / "s.idx");
  }

  AnalogyScores scores(const std::vector<std::int64_t>& k) {
    const runtime::OpenTask<jobs::EvaluateSettings> task(jobs::TaskKind::kEvaluate, task_);
    const auto words = [](const std::vector<std::string>& texts) {
      std::vector<at::Tensor> rows;
      for (const auto& text : texts)
        rows.push_back(direction_of({text.find("star") == std::string::npos ? "circle" : "star",
                                     text.find("red") == std::string::npos ? "blue" : "red", "nowhere"}));
      return at::stack(rows);
    };
    return analogy_scores(task, "train", places_, at::stack(rows_), k, words, [] {});
  }

  testing::TarWriter tar_;
  jobs::Task task_;
  Places places_;
  std::vector<at::Tensor> rows_;
};

TEST_F(AnalogiesTest, TheEditedSceneIsFoundByBothTogether) {
  const auto made = scores({1, 8});
  EXPECT_EQ(made.scenes, 16);
  EXPECT_EQ(made.queries, 16);
  const evaluation::Metrics expected = {
      {"edited_recall@1", 1},  {"edited_recall@8", 1},    // nothing else is as near
      {"words_recall@1", 0.5}, {"words_recall@8", 1},     // words do not know the ground
      {"picture_recall@1", 0}, {"picture_recall@8", 1}};  // its twin has its own colour
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(made.metrics[i].first, expected[i].first);
    EXPECT_EQ(made.metrics[i].second, expected[i].second) << expected[i].first;
    EXPECT_EQ(made.chance[i].first, expected[i].first);
  }
  EXPECT_NEAR(made.chance[0].second, 2.0 / 16, 1e-12);
  EXPECT_NEAR(made.chance[1].second, 1 - std::pow(1 - 2.0 / 16, 8), 1e-12);
}

TEST_F(AnalogiesTest, ScenesWithoutAnotherColourAndSamplesWithoutScenesAreRefused) {
  rows_.resize(2);
  places_.resize(2);
  EXPECT_THROW(scores({1}), Error);
  testing::TarWriter tar;
  tar.add("a.jpg", testing::test_jpeg(16, 16, 1));
  tar.add("a.json", R"({"objects":{"circle":1}})");
  write(tar);
  rows_.resize(1);
  places_.resize(1);
  try {
    scores({1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("attributes"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::worker::stages::evaluate
