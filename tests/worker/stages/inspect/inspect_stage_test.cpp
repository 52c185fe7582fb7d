#include "worker/stages/inspect/inspect_stage.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "jobs/specification/job_spec.h"
#include "tests/support/tar_writer.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::stages::inspect {
namespace {

class InspectTest : public ::testing::Test {
 protected:
  io::Path folder =
      std::filesystem::temp_directory_path() / ("trireme-inspect-" + std::to_string(::getpid()));
  jobs::Task task;
  runtime::StopRequest stop;
  runtime::TaskContext context;

  void SetUp() override {
    io::make_folders(folder / "store");
    task.output = (folder / "store/abc").string();
    task.shard.emplace();
    task.shard->path = (folder / "0.tar").string();
    task.shard->format = jobs::DataFormat::kWebdataset;
    context.stop = &stop;
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
};

TEST_F(InspectTest, WritesTheIndexAndSaysWhatItFound) {
  const std::string tar = trireme::testing::TarWriter()
                              .add("a.jpg", "J")
                              .add("a.txt", "a dog")
                              .add("b.jpg", "J")
                              .add("c.jpg", "J")
                              .add("c.cls", "4")
                              .bytes();
  io::write_file_atomic(task.shard->path, tar, false);
  const jobs::TaskDone done = InspectStage().run(task, context);
  ASSERT_EQ(done.outputs.size(), 1U);
  EXPECT_EQ(done.outputs[0].path, task.output + ".idx");
  EXPECT_EQ(done.outputs[0].xxh3, io::xxh3_of_file(done.outputs[0].path));
  EXPECT_EQ(done.counts, (std::map<std::string, std::int64_t>{{"in", 2},
                                                              {"bad.no_caption", 1},
                                                              {"seen.members", 5},
                                                              {"seen.members.kept", 4},
                                                              {"seen.members.bad", 1},
                                                              {"seen.members.other", 0},
                                                              {"seen.texts", 1}}));
  const jobs::ShardSummary summary = jobs::summary_from_json(done.summary);
  EXPECT_EQ(summary.sha256, io::sha256_hex(tar));
  EXPECT_EQ(summary.samples, 2);
  EXPECT_EQ(summary.captions, 1);
  EXPECT_TRUE(summary.labels);
  EXPECT_EQ(summary.bad.at("no_caption"), 1);
  EXPECT_EQ(data::ShardReader(task.shard->path, done.outputs[0].path).size(), 2);
  const std::string first = io::read_file(done.outputs[0].path);
  InspectStage().run(task, context);
  EXPECT_EQ(io::read_file(done.outputs[0].path), first);
}

TEST_F(InspectTest, AShardThatChangedIsRefused) {
  io::write_file_atomic(task.shard->path, trireme::testing::TarWriter().add("a.jpg", "J").bytes(), false);
  task.shard->sha256 = std::string(64, 'a');
  try {
    InspectStage().run(task, context);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
    EXPECT_NE(std::string(error.what()).find("changed"), std::string::npos);
  }
}

TEST_F(InspectTest, TablesUseTheColumnsOfTheirSource) {
  io::write_file_atomic(folder / "a.jpg", "J", false);
  task.shard->path = (folder / "pairs.tsv").string();
  task.shard->format = jobs::DataFormat::kTable;
  task.shard->source = 1;
  io::write_file_atomic(task.shard->path, "picture\ttext\na.jpg\ta dog\n", false);
  jobs::DataSpec spec;
  spec.sources.resize(2);
  spec.sources[0].path = "other.tar";
  spec.sources[1].path = task.shard->path;
  spec.sources[1].image_column = "picture";
  spec.sources[1].caption_column = "text";
  task.data = jobs::data_json(spec);
  EXPECT_EQ(InspectStage().run(task, context).counts.at("in"), 1);
}

TEST_F(InspectTest, MissingShardsAndCancellation) {
  EXPECT_THROW(InspectStage().run(task, context), Error);
  io::write_file_atomic(task.shard->path,
                        trireme::testing::TarWriter().add("a.jpg", "J").add("a.txt", "a dog").bytes(), false);
  stop.stop();
  try {
    InspectStage().run(task, context);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
  EXPECT_FALSE(std::filesystem::exists(task.output + ".idx"));
}

}  // namespace
}  // namespace trireme::worker::stages::inspect
