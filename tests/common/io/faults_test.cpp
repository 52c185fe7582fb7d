// The writers of common/io over a disk with faults.
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "tests/support/faulty_files.h"

namespace trireme::io {
namespace {

class FaultsTest : public ::testing::Test {
 protected:
  Path folder = temporary_folder() / ("trireme-faults-" + std::to_string(::getpid()));
  testing::FaultyFiles files;
  void SetUp() override {
    make_folders(folder);
    write_file_atomic(folder / "a", "old");
  }
  void TearDown() override { remove_tree(folder); }

  ErrorKind refused(const std::string& bytes) {
    try {
      write_file_atomic(folder / "a", bytes, true, 0644, files);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find((folder / "a").string()), std::string::npos);
      return error.kind();
    }
    ADD_FAILURE() << "nothing was refused";
    return ErrorKind::kInternal;
  }
  // The old bytes, and nothing aside.
  void expect_untouched() {
    EXPECT_EQ(read_file(folder / "a"), "old");
    EXPECT_EQ(list_folder(folder).size(), 1U);
  }
};

TEST_F(FaultsTest, ShortWritesAreFinished) {
  files.most_bytes_a_write = 7;
  const std::string bytes(1000, 'x');
  write_file_atomic(folder / "a", bytes, true, 0644, files);
  EXPECT_EQ(read_file(folder / "a"), bytes);
  FileWriter writer(folder / "b", 0644, files);
  writer.write(bytes);
  writer.finish();
  EXPECT_EQ(read_file(folder / "b"), bytes);
  EXPECT_GE(files.writes, 2 * 143);
}

TEST_F(FaultsTest, AFullDiskKeepsTheOldBytes) {
  files.room = 10;
  EXPECT_EQ(refused(std::string(11, 'x')), ErrorKind::kDiskFull);
  expect_untouched();
}

TEST_F(FaultsTest, AFailedSyncOrRenameKeepsTheOldBytes) {
  files.sync_fault = EIO;
  refused("new");
  expect_untouched();
  files.sync_fault = 0;
  files.rename_fault = EIO;
  refused("new");
  expect_untouched();
}

TEST_F(FaultsTest, AFailedWriteInTheMiddleOfAStreamIsReported) {
  FileWriter writer(folder / "b", 0644, files);
  writer.write(std::string(100, 'x'));
  files.write_fault = EIO;
  EXPECT_THROW(writer.finish(), Error);
}

TEST_F(FaultsTest, ARenameSeenLateIsWaitedFor) {
  files.seen_late = "/a";
  files.looks_missed = 5;
  EXPECT_TRUE(appears(folder / "a", files));
  EXPECT_EQ(files.pauses, 5);
  EXPECT_FALSE(appears(folder / "never", files));  // the pauses of a test take no time
  EXPECT_EQ(files.pauses, 5 + 200);
}

TEST_F(FaultsTest, WhereLinksAreRefusedACopyIsMade) {
  files.link_fault = EPERM;
  link_or_copy(folder / "a", folder / "b", files);
  EXPECT_EQ(read_file(folder / "b"), "old");
  EXPECT_FALSE(same_file(folder / "a", folder / "b"));
  EXPECT_GE(files.syncs, 1);
  files.link_fault = 0;
  link_or_copy(folder / "a", folder / "b", files);
  EXPECT_TRUE(same_file(folder / "a", folder / "b"));
  files.link_fault = EXDEV;
  files.room = 1;
  EXPECT_THROW(link_or_copy(folder / "a", folder / "c", files), Error);
}

}  // namespace
}  // namespace trireme::io
