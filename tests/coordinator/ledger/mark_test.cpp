#include "coordinator/ledger/mark.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "coordinator/ledger/reserve.h"
#include "tests/support/faulty_files.h"

namespace trireme::coordinator::ledger {
namespace {

class MarkTest : public ::testing::Test {
 protected:
  io::Path folder = io::temporary_folder() / ("trireme-mark-" + std::to_string(::getpid()));
  io::Path path = folder / "mark";
  trireme::testing::FaultyFiles files;
  void SetUp() override { io::make_folders(folder); }
  void TearDown() override { io::remove_tree(folder); }
};

TEST_F(MarkTest, AWriteThatFailsCostsOneSlotAndIsSaid) {
  Mark mark(path, 42, 7, files);
  mark.advance(8);
  files.write_fault = EIO;
  EXPECT_THROW(mark.advance(9), Error);
  EXPECT_EQ(Mark::read(path, 42), 8U);
  files.write_fault = 0;
  files.most_bytes_a_write = 5;  // half a slot: the other one stands
  EXPECT_THROW(mark.advance(9), Error);
  EXPECT_EQ(Mark::read(path, 42), 8U);
  files.most_bytes_a_write = 0;
  mark.advance(9);
  EXPECT_EQ(Mark::read(path, 42), 9U);
}

TEST_F(MarkTest, ADiskThatDoesNotSyncIsSaid) {
  files.sync_fault = EIO;
  EXPECT_THROW(Mark(path, 42, 7, files), Error);
  files.sync_fault = 0;
  Mark mark(path, 42, 7, files);
  files.sync_fault = EIO;
  EXPECT_THROW(mark.sync(), Error);
}

TEST_F(MarkTest, WithoutRoomThereIsNoReserveAndNothingIsLeft) {
  files.room = 4095;
  EXPECT_FALSE(take_reserve(folder / "reserve", 4096, files));
  EXPECT_FALSE(io::exists(folder / "reserve"));
  files.room = 4096;
  EXPECT_TRUE(take_reserve(folder / "reserve", 4096, files));
  EXPECT_EQ(io::size_of(folder / "reserve"), 4096U);
}

}  // namespace
}  // namespace trireme::coordinator::ledger
