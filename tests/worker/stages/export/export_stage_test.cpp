#include "worker/stages/export/export_stage.h"

#include <nlohmann/json.hpp>

#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/data/batches/scores.h"
#include "worker/stages/export/measured_scores.h"

namespace trireme::worker::stages::export_shards {
namespace {

using testing::test_jpeg;

class ExportTest : public testing::StageTest {};

constexpr const char* kVerdicts =
    "{\"format\":\"trireme-verdicts\",\"version\":1,\"first\":0,\"count\":2}\n"
    "{\"sample\":0,\"key\":\"00\",\"kept\":false,\"rules\":[\"min_words\"]}\n"
    "{\"sample\":1,\"key\":\"01\",\"kept\":true,\"captions\":[0,2]}\n";

TEST_F(ExportTest, KeptSamplesByteForByteWithTheirKeys) {
  const std::string long_key(120, 'k');
  const auto first = test_jpeg(40, 30, 1), second = test_jpeg(40, 30, 2);
  auto task = shard_task(
      "a", {{"00", first, "cat"}, {"01", second, "a dog\nx\nthe dog runs"}, {long_key, first, "last one"}});
  task.settings = jobs::settings_json(jobs::ExportSettings{.data = {"train"}});
  io::write_file_atomic(folder_ / "v", kVerdicts, false);
  io::write_file_atomic(folder_ / "w",
                        "{\"format\":\"trireme-verdicts\",\"version\":1,\"first\":2,\"count\":1}\n"
                        "{\"sample\":2,\"key\":\"k\",\"kept\":true}\n",
                        false);
  task.inputs.push_back(input(jobs::Role::kVerdicts, (folder_ / "w").string()));
  task.inputs.push_back(input(jobs::Role::kVerdicts, (folder_ / "v").string()));
  const auto done = ExportStage().run(task, context_);
  EXPECT_EQ(done.counts.at("exported"), 2);
  EXPECT_EQ(done.counts.at("no_uid"), 2);
  const auto scan =
      data::build_shard_index(done.outputs[0].path, jobs::DataFormat::kClipBenchmark, {}, folder_ / "x.idx");
  EXPECT_EQ(scan.samples, 2);
  EXPECT_TRUE(scan.bad.empty());
  const data::ShardReader shard(done.outputs[0].path, folder_ / "x.idx");
  std::string storage;
  EXPECT_EQ(shard.key(0), "01");
  EXPECT_EQ(shard.image_bytes(0, storage), second);
  EXPECT_EQ(shard.captions(0), (std::vector<std::string>{"a dog", "the dog runs"}));
  EXPECT_NE(shard.json(0).find("\"key\": \"01\""), std::string::npos);
  EXPECT_EQ(shard.key(1), long_key);
  EXPECT_EQ(shard.image_bytes(1, storage), first);
  const std::string bytes = io::read_file(done.outputs[0].path);
  EXPECT_EQ(io::read_file(ExportStage().run(task, context_).outputs[0].path), bytes);
}

TEST_F(ExportTest, UidsOfJson) {
  testing::TarWriter tar;
  const auto picture = test_jpeg(20, 20, 1);
  const char* const jsons[] = {R"({"uid":"ffffffffffffffff0000000000000001"})",
                               R"({"uid":"0000000000000000ABCDEFabcdef0123"})", R"({"uid":"too short"})",
                               R"({"uid":7})"};
  for (int i = 0; i < 4; ++i)
    tar.add(std::to_string(i) + ".jpg", picture)
        .add(std::to_string(i) + ".json", jsons[i])
        .add(std::to_string(i) + ".txt", "a dog");
  auto task = shard_task("u", {{"x", picture, "y"}}, jobs::DataFormat::kWebdataset);
  io::write_file_atomic(task.shard->path, tar.bytes(), false);
  data::build_shard_index(task.shard->path, jobs::DataFormat::kWebdataset, {}, task.inputs[0].path);
  task.settings = jobs::settings_json(jobs::ExportSettings{.data = {"train"}});
  const auto done = ExportStage().run(task, context_);
  EXPECT_EQ(done.counts.at("exported"), 4);
  EXPECT_EQ(done.counts.at("uids"), 2);
  const std::string uids = io::read_file(done.outputs[1].path);
  ASSERT_EQ(uids.size(), 32U);
  EXPECT_EQ(uids[0], '\0');  // sorted
  EXPECT_EQ(static_cast<unsigned char>(uids[8]), 0xAB);
  EXPECT_EQ(static_cast<unsigned char>(uids[16]), 0xFF);
}

TEST_F(ExportTest, WhatWasMeasuredGoesIntoJson) {
  testing::TarWriter tar;
  const auto picture = test_jpeg(20, 20, 1);
  for (const char* key : {"a", "b", "c"}) {
    tar.add(std::string(key) + ".jpg", picture).add(std::string(key) + ".txt", "a dog");
    if (*key != 'c') tar.add(std::string(key) + ".json", R"({"width": 20, "unsafe": 0.5})");
  }
  auto task = shard_task("m", {{"x", picture, "y"}}, jobs::DataFormat::kWebdataset);
  io::write_file_atomic(task.shard->path, tar.bytes(), false);
  task.shard->sha256 =
      data::build_shard_index(task.shard->path, jobs::DataFormat::kWebdataset, {}, task.inputs[0].path)
          .sha256;
  task.settings = jobs::settings_json(jobs::ExportSettings{.data = {"train"}});
  const auto facts = [](int sample, const std::string& columns) {
    return "{\"sample\":" + std::to_string(sample) + ",\"columns\":{" + columns + "}}\n";
  };
  io::write_file_atomic(folder_ / "f",
                        "{\"format\":\"trireme-facts\",\"version\":2,\"first\":0,\"count\":3}\n" +
                            facts(0, "\"unsafe\":0.5,\"width\":20") + facts(1, "\"unsafe\":0.25") +
                            facts(2, "\"unsafe\":null"),
                        false);
  io::write_file_atomic(
      folder_ / "s", data::scores_file("similarity", task.shard->sha256, {{"a", 0.1}, {"c", -0.3}}), false);
  task.inputs.push_back(input(jobs::Role::kFacts, (folder_ / "f").string()));
  task.inputs.push_back(input(jobs::Role::kScores, (folder_ / "s").string()));
  task.inputs.back().stage = "clip";
  const auto done = ExportStage().run(task, context_);
  EXPECT_EQ(done.counts.at("scored"), 3);
  EXPECT_EQ(done.counts.at("no_score"), 0);
  data::build_shard_index(done.outputs[0].path, jobs::DataFormat::kWebdataset, {}, folder_ / "x.idx");
  const data::ShardReader shard(done.outputs[0].path, folder_ / "x.idx");
  EXPECT_EQ(shard.json(0), R"({"width": 20, "unsafe": 0.5, "clip": 0.1})") << "the rest byte for byte";
  EXPECT_EQ(nlohmann::json::parse(shard.json(1)), nlohmann::json::parse(R"({"width": 20, "unsafe": 0.25})"));
  const auto made = nlohmann::json::parse(shard.json(2));
  EXPECT_EQ(made.at("clip"), -0.3);
  EXPECT_EQ(made.at("key"), "c");
  EXPECT_FALSE(made.contains("unsafe"));

  io::write_file_atomic(
      folder_ / "g",
      "{\"format\":\"trireme-facts\",\"version\":2,\"first\":0,\"count\":1}\n" + facts(0, "\"unsafe\":0.75"),
      false);
  task.inputs.push_back(input(jobs::Role::kFacts, (folder_ / "g").string()));
  EXPECT_THROW(ExportStage().run(task, context_), Error);
}

TEST(WithMembers, ValuesArePutIntoAnObjectOfAnyShape) {
  bool added = false;
  EXPECT_EQ(with_members("{}", {{"a", 1.5}}, added), R"({"a": 1.5})");
  EXPECT_EQ(with_members("{ \n}\n", {{"a", 1}, {"b\"", 1e-30}}, added), "{\"a\": 1, \"b\\\"\": 1e-30 \n}\n");
  EXPECT_TRUE(added);
  EXPECT_EQ(with_members(R"({"a": 3})", {{"a", 3}}, added), R"({"a": 3})");
  EXPECT_TRUE(added);
  for (const char* none : {"[1]", "", "no json"}) {
    EXPECT_EQ(with_members(none, {{"a", 1}}, added), none);
    EXPECT_FALSE(added);
  }
}

}  // namespace
}  // namespace trireme::worker::stages::export_shards
