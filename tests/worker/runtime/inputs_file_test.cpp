#include <gtest/gtest.h>
#include <unistd.h>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {
namespace {

TEST(InputsFile, LinesOfTheTaskOrOfItsFile) {
  const io::Path folder = io::temporary_folder() / ("trireme-inputs-" + std::to_string(::getpid()));
  jobs::Task task;
  task.shard = jobs::ShardRef{};
  task.inputs = {jobs::InputFile{}, jobs::InputFile{}};
  EXPECT_EQ(read_inputs(task).size(), 3U);
  task.inputs_file = (folder / "inputs.jsonl").string();
  jobs::InputsLine line;
  line.input = jobs::InputFile{};
  line.input->role = jobs::Role::kFeatures;
  io::write_file_atomic(task.inputs_file, jobs::to_json(line) + "\n" + jobs::to_json(line) + "\n");
  ASSERT_EQ(read_inputs(task).size(), 2U);
  EXPECT_EQ(read_inputs(task)[1].input->role, jobs::Role::kFeatures);
  io::write_file_atomic(task.inputs_file, jobs::to_json(line) + "\nnonsense\n");
  try {
    read_inputs(task);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("inputs.jsonl:2"), std::string::npos) << error.what();
  }
  io::remove_tree(folder);
}

}  // namespace
}  // namespace trireme::worker::runtime
