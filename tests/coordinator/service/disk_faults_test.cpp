// Sealing a checkpoint and publishing a result over a disk with faults.
#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/checkpoints/manifest.h"
#include "coordinator/service/books/outputs.h"
#include "tests/support/faulty_files.h"

namespace trireme::coordinator::service {
namespace {

using checkpoints::checkpoint_fault;
using checkpoints::seal_checkpoint;

class DiskFaults : public ::testing::Test {
 protected:
  io::Path folder = io::temporary_folder() / ("trireme-disk-faults-" + std::to_string(::getpid()));
  io::Path place = folder / "ckpt/train/step-00000007";
  trireme::testing::FaultyFiles files;

  void TearDown() override { io::remove_tree(folder); }

  checkpoints::SealOrder written(const std::string& bytes) {
    checkpoints::SealOrder order{"run-1", "job-1", "train", "aa", "", 2, 1, {}};
    const io::Path aside = folder / "ckpt/train/.tmp-7-1";
    io::write_file_atomic(aside / "model.safetensors", bytes);
    order.written.step = 7;
    order.written.folder = aside.string();
    order.written.files = {
        {"model.safetensors", (aside / "model.safetensors").string(), bytes.size(), io::xxh3_64(bytes)}};
    return order;
  }
  std::string sealed() { return io::read_file(place / "model.safetensors"); }
};

TEST_F(DiskFaults, FilesThatAreSeenLateAreWaitedFor) {
  files.seen_late = "model.safetensors";
  files.looks_missed = 3;
  const auto row = seal_checkpoint(written("weights"), files);
  EXPECT_EQ(files.pauses, 3);
  EXPECT_EQ(row.folder, place.string());
  EXPECT_EQ(checkpoint_fault(row), "");
}

TEST_F(DiskFaults, ACheckpointThatCannotBeSealedLeavesTheOneBefore) {
  const auto before = seal_checkpoint(written("old"), files);
  for (const auto& [fault, value] : {std::pair(&files.sync_fault, EIO), std::pair(&files.write_fault, ENOSPC),
                                     std::pair(&files.rename_fault, EIO)}) {
    *fault = value;
    EXPECT_THROW(seal_checkpoint(written("new"), files), Error);
    *fault = 0;
    EXPECT_EQ(sealed(), "old");
    EXPECT_EQ(checkpoint_fault(before), "");
    EXPECT_EQ(io::list_folder(place.parent_path()).size(), 1U);  // nothing aside
  }
  const auto after = seal_checkpoint(written("new"), files);
  EXPECT_EQ(after.folder, place.string() + "-aa");  // what lies there is not replaced
  EXPECT_EQ(checkpoint_fault(after), "");
}

TEST_F(DiskFaults, WhatWasAnnouncedButIsNotThereIsNamed) {
  checkpoints::SealOrder order = written("weights");
  order.written.files[0].bytes = 99;
  try {
    seal_checkpoint(order, files);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
    EXPECT_NE(std::string(error.what()).find("model.safetensors"), std::string::npos);
  }
  order = written("weights");
  order.written.files.push_back({"optimizer.safetensors", "", 1, 1});
  EXPECT_THROW(seal_checkpoint(order, files), Error);
  EXPECT_FALSE(io::exists(place));
}

TEST_F(DiskFaults, PublishingIsAllOrNothing) {
  io::write_file_atomic(folder / "first/model", "1");
  io::write_file_atomic(folder / "second/model", "2");
  io::write_file_atomic(folder / "second/more/file", "3");
  publish_folder(folder / "first", folder / "final", files);
  files.link_fault = EXDEV;  // another file system: copies
  files.room = 1;
  EXPECT_THROW(publish_folder(folder / "second", folder / "final", files), Error);
  EXPECT_EQ(io::read_file(folder / "final/model"), "1");
  EXPECT_FALSE(io::exists(folder / "final/more"));
  EXPECT_EQ(io::list_folder(folder).size(), 3U);  // nothing aside
  files.room = -1;
  files.most_bytes_a_write = 1;
  publish_folder(folder / "second", folder / "final", files);
  EXPECT_EQ(io::read_file(folder / "final/model"), "2");
  EXPECT_EQ(io::read_file(folder / "final/more/file"), "3");
  files.rename_fault = EIO;
  EXPECT_THROW(publish_file(folder / "first/model", folder / "final/model", files), Error);
  EXPECT_EQ(io::read_file(folder / "final/model"), "2");
}

}  // namespace
}  // namespace trireme::coordinator::service
