#include "worker/runtime/open_task.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/error.h"
#include "common/io/file.h"

namespace trireme::worker::runtime {
namespace {

using jobs::Role;

class OpenTaskTest : public ::testing::Test {
 protected:
  OpenTaskTest() {
    task_.stage = "good";
    task_.settings = jobs::settings_json(jobs::FilterSettings{.data = {"train"}, .min_words = 7});
    task_.shard = jobs::ShardRef{.data = "train", .shard = 2};
    for (const auto& [role, shard] : {std::pair{Role::kFacts, 1}, {Role::kCuts, -1}, {Role::kFacts, 2}})
      task_.inputs.push_back(
          {.role = role, .data = "train", .shard = shard, .path = "/" + std::to_string(shard)});
    task_.output = (folder_ / "address").string();
  }
  ~OpenTaskTest() override { std::filesystem::remove_all(folder_); }

  io::Path folder_ = std::filesystem::temp_directory_path() / ("trireme-open-" + std::to_string(::getpid()));
  jobs::Task task_;
};

TEST_F(OpenTaskTest, SettingsInTheirStructAndInputsByRole) {
  const OpenTask<jobs::FilterSettings> task(jobs::TaskKind::kFilter, task_);
  EXPECT_EQ(task.settings.min_words, 7);
  EXPECT_EQ(task.inputs.paths(Role::kFacts), (std::vector<std::string>{"/1", "/2"}));
  EXPECT_EQ(task.inputs.paths(Role::kFacts, task.shard()), std::vector<std::string>{"/2"});
  EXPECT_EQ(task.inputs.only(Role::kCuts).path, "/-1");
  EXPECT_EQ(task.inputs.find(Role::kModel), nullptr);
  for (const Role role : {Role::kFacts, Role::kModel}) {
    try {
      task.inputs.only(role);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInternal);
      EXPECT_NE(std::string(error.what()).find("stage 'good'"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find(name_of(role)), std::string::npos) << error.what();
    }
  }
  task_.shard.reset();
  EXPECT_THROW((OpenTask<jobs::FilterSettings>(jobs::TaskKind::kFilter, task_).shard()), Error);
  task_.settings = R"({"data":["train"],"min_wrods":7})";
  EXPECT_THROW((OpenTask<jobs::FilterSettings>(jobs::TaskKind::kFilter, task_)), Error);
}

class Judge : public StageOf<jobs::TaskKind::kFilter, jobs::FilterSettings> {
 public:
  bool both = true;

 protected:
  jobs::TaskDone work(const Task& task, TaskContext&) override {
    io::write_file_atomic(task.output(), "verdicts");
    if (both) io::write_file_atomic(task.beside(), "thumbnails");
    return {};
  }
};

TEST_F(OpenTaskTest, OutputsAreWhatTheKindLeaves) {
  io::make_folders(folder_);
  TaskContext context;
  const auto done = Judge().run(task_, context);
  ASSERT_EQ(done.outputs.size(), 2U);
  EXPECT_EQ(done.outputs[0].name, "");
  EXPECT_EQ(done.outputs[0].path, task_.output + ".verdicts.jsonl");
  EXPECT_EQ(done.outputs[0].bytes, 8U);
  EXPECT_EQ(done.outputs[1].name, "thumbnails");
  EXPECT_EQ(done.outputs[1].path, task_.output + ".thumbnails.jsonl");
  std::filesystem::remove(done.outputs[1].path);
  Judge forgetful;
  forgetful.both = false;
  EXPECT_THROW(forgetful.run(task_, context), Error);
}

}  // namespace
}  // namespace trireme::worker::runtime
