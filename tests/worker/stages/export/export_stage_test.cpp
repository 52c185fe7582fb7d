#include "worker/stages/export/export_stage.h"

#include "tests/worker/stages/support/stage_fixture.h"

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

}  // namespace
}  // namespace trireme::worker::stages::export_shards
