// What is published replaces what was published before, and nothing else.
#include "coordinator/service/books/outputs.h"

#include <gtest/gtest.h>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "common/io/hash.h"

namespace trireme::coordinator::service {
namespace {

class OutputsTest : public testing::Test {
 protected:
  io::Path output = io::temporary_folder() / ("trireme-outputs-" + std::to_string(::getpid()));
  void SetUp() override { io::remove_tree(output); }
  void TearDown() override { io::remove_tree(output); }

  // A model folder in the store.
  io::Path model(const std::string& bytes) {
    const io::Path folder = output / "store" / bytes;
    nlohmann::json files = nlohmann::json::array();
    for (const char* name : {"config.json", "model.safetensors"}) {
      io::write_file_atomic(folder / name, name + bytes, false);
      files.push_back({{"name", name},
                       {"bytes", io::size_of(folder / name)},
                       {"xxh3", io::hex(io::xxh3_of_file(folder / name))}});
    }
    io::write_file_atomic(folder / "manifest.json", nlohmann::json{{"files", files}}.dump(), false);
    return folder;
  }
  std::vector<std::string> names() {
    std::vector<std::string> found;
    for (const auto& path : io::list_folder(output))
      if (path.filename() != "store") found.push_back(path.filename().string());
    return found;
  }
  std::vector<CommittedTask> exported(const std::string& bytes) {
    io::write_file_atomic(output / "store" / (bytes + ".tar"), bytes, false);
    CommittedTask task;
    task.kind = jobs::TaskKind::kExport;
    task.done.counts["exported"] = 1;
    task.done.outputs.push_back({"", (output / "store" / (bytes + ".tar")).string(), bytes.size(), 0});
    return {task};
  }
};

TEST_F(OutputsTest, APublishedModelIsReplacedAndLeavesNothingBehind) {
  publish_folder(model("one"), output / "final");
  publish_folder(model("two"), output / "final");
  EXPECT_EQ(io::read_file(output / "final/config.json"), "config.jsontwo");
  EXPECT_EQ(names(), (std::vector<std::string>{"final"}));
}

TEST_F(OutputsTest, WhatAPersonPutThereOrChangedIsKeptBeside) {
  publish_folder(model("one"), output / "final");
  io::write_file_atomic(output / "final/notes.txt", "mine", false);
  publish_folder(model("two"), output / "final");
  EXPECT_EQ(io::read_file(output / "final.kept-1/notes.txt"), "mine");
  io::write_file_atomic(output / "final/config.json", "config.jsonTWO", false);  // of the same length
  publish_folder(model("three"), output / "final");
  EXPECT_EQ(io::read_file(output / "final.kept-2/config.json"), "config.jsonTWO");
  EXPECT_EQ(names(), (std::vector<std::string>{"final", "final.kept-1", "final.kept-2"}));
  io::write_file_atomic(output / "index", "a file of that name", false);
  publish_folder(model("one"), output / "index");
  EXPECT_EQ(io::read_file(output / "index.kept-1"), "a file of that name");
}

TEST_F(OutputsTest, AnExportFolderWithForeignFilesIsKept) {
  publish_stage(output, "out", true, exported("one"));
  publish_stage(output, "out", true, exported("two"));
  EXPECT_EQ(io::read_file(output / "export/out/00000.tar"), "two");
  EXPECT_EQ(io::list_folder(output / "export").size(), 1U);
  io::write_file_atomic(output / "export/out/README.md", "mine", false);
  publish_stage(output, "out", true, exported("three"));
  EXPECT_EQ(io::read_file(output / "export/out.kept-1/README.md"), "mine");
  EXPECT_EQ(io::read_file(output / "export/out/00000.tar"), "three");
}

}  // namespace
}  // namespace trireme::coordinator::service
