#include "common/io/file.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/error.h"
#include "common/io/hash.h"

namespace trireme::io {
namespace {

class FileTest : public testing::Test {
 protected:
  Path folder = std::filesystem::temp_directory_path() / ("trireme-io-" + std::to_string(::getpid()));
  void SetUp() override { make_folders(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
};

TEST(ReadFile, FilesThatTellNoSizeAreReadToTheEnd) {
  EXPECT_NE(read_file("/proc/self/environ").find('='), std::string::npos);
  EXPECT_EQ(read_file("/dev/null"), "");
}

TEST_F(FileTest, AtomicWriteReplacesAndLeavesNothingAside) {
  write_file_atomic(folder / "a/b.txt", "one");
  write_file_atomic(folder / "a/b.txt", "two");
  EXPECT_EQ(read_file(folder / "a/b.txt"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "a"), {}), 1);
}

TEST_F(FileTest, ErrorsNameThePathAndTheKind) {
  try {
    read_file(folder / "missing");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_NE(std::string(error.what()).find("missing"), std::string::npos);
  }
  EXPECT_THROW(read_file(folder), Error);
  write_file_atomic(folder / "big", std::string(100, 'x'));
  EXPECT_THROW(read_file(folder / "big", 99), Error);
}

TEST_F(FileTest, SecondLockIsRefusedAndNamesTheHolder) {
  const FileLock first(folder / "LOCK");
  try {
    const FileLock second(folder / "LOCK");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConflict);
    EXPECT_NE(std::string(error.what()).find(std::to_string(::getpid())), std::string::npos);
  }
}

TEST_F(FileTest, HashesKnownAnswers) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(xxh3_64("")), "2d06800538d394c2");
  const std::string bytes(3'000'000, 'y');
  write_file_atomic(folder / "y", bytes);
  EXPECT_EQ(xxh3_of_file(folder / "y"), xxh3_64(bytes));
  const MappedFile map(folder / "y");
  EXPECT_EQ(map.bytes().size(), bytes.size());
}

}  // namespace
}  // namespace trireme::io
