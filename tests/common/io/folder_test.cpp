#include "common/io/folder.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "common/base/error.h"
#include "common/io/byte_source.h"
#include "tests/support/ranged_source.h"

namespace trireme::io {
namespace {

class FolderTest : public ::testing::Test {
 protected:
  Path folder = temporary_folder() / ("trireme-folder-" + std::to_string(::getpid()));
  void SetUp() override {
    write_file_atomic(folder / "b/two", "22");
    write_file_atomic(folder / "a", "1");
  }
  void TearDown() override { remove_tree(folder); }
};

TEST_F(FolderTest, NamesAreWhatTheyAre) {
  EXPECT_TRUE(is_file(folder / "a") && !is_folder(folder / "a"));
  EXPECT_TRUE(is_folder(folder / "b") && !is_file(folder / "b"));
  EXPECT_FALSE(io::exists(folder / "c"));
  std::filesystem::create_symlink(folder / "nowhere", folder / "c");
  EXPECT_FALSE(io::exists(folder / "c"));
  EXPECT_EQ(size_of(folder / "b/two"), 2U);
  EXPECT_THROW(size_of(folder / "d"), Error);
}

TEST_F(FolderTest, ListsAreSortedAndAFolderThatIsNotThereIsNamed) {
  EXPECT_EQ(list_folder(folder), (std::vector<Path>{folder / "a", folder / "b"}));
  EXPECT_EQ(files_below(folder), (std::vector<Path>{folder / "a", folder / "b/two"}));
  EXPECT_TRUE(list_folder_if_there(folder / "c").empty());
  try {
    list_folder(folder / "c");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  }
}

TEST_F(FolderTest, MakesFoldersAndRefusesWhereAFileStands) {
  make_folders(folder / "x/y/z/");
  EXPECT_TRUE(is_folder(folder / "x/y/z"));
  make_folders(folder / "x/y/z");
  EXPECT_THROW(make_folders(folder / "a/below"), Error);
  EXPECT_THROW(make_folders(folder / "a"), Error);
}

TEST_F(FolderTest, TreesAreLinkedAndRemovedWhole) {
  link_or_copy_tree(folder, temporary_folder() / (folder.filename().string() + "-copy"));
  const Path copy = temporary_folder() / (folder.filename().string() + "-copy");
  EXPECT_TRUE(same_file(copy / "b/two", folder / "b/two"));
  EXPECT_TRUE(remove_tree(copy));
  EXPECT_FALSE(io::exists(copy) || remove_tree(copy) || remove_file(copy / "a"));
}

// "b.old" is what another host's call moved out of the way under a fixed name.
TEST_F(FolderTest, AFolderIsReplacedAndNothingOfOthersIsTouched) {
  write_file_atomic(folder / "new/three", "333");
  write_file_atomic(folder / "b.old/theirs", "4");
  replace_folder(folder / "new", folder / "b");
  EXPECT_EQ(files_below(folder),
            (std::vector<Path>{folder / "a", folder / "b/three", folder / "b.old/theirs"}));
}

TEST_F(FolderTest, AReplacementThatFailsLeavesWhatWasThere) {
  class : public FileSystem {
    int rename(const Path& from, const Path& to) const override {
      if (from.filename() != "new") return FileSystem::rename(from, to);
      errno = EIO;
      return -1;
    }
  } second_fails;
  write_file_atomic(folder / "new/three", "333");
  EXPECT_THROW(replace_folder(folder / "new", folder / "b", second_fails), Error);
  EXPECT_EQ(files_below(folder), (std::vector<Path>{folder / "a", folder / "b/two", folder / "new/three"}));
}

TEST_F(FolderTest, LinesComeWhole) {
  const std::string blocks(300'000, 'x');
  write_file_atomic(folder / "lines", "one\n\n" + blocks + "\nlast");
  LineReader reader(folder / "lines");
  std::string line;
  std::vector<std::size_t> sizes;
  while (reader.next(line)) sizes.push_back(line.size());
  EXPECT_EQ(sizes, (std::vector<std::size_t>{3, 0, 300'000, 4}));
  EXPECT_FALSE(LineReader(folder / "none").next(line));
}

TEST_F(FolderTest, SourcesGiveTheSameBytesFromMemoryAFileAndByRanges) {
  write_file_atomic(folder / "bytes", "0123456789");
  const auto file = open_source(folder / "bytes");
  const MemorySource memory("0123456789", "memory");
  const testing::RangedSource asked("0123456789");
  for (const ByteSource* source :
       {static_cast<const ByteSource*>(file.get()), static_cast<const ByteSource*>(&memory),
        static_cast<const ByteSource*>(&asked)}) {
    std::string storage;
    EXPECT_EQ(source->size(), 10U);
    EXPECT_EQ(source->view(3, 4, storage), "3456");
    char two[2];
    source->read(8, two);
    EXPECT_EQ(std::string_view(two, 2), "89");
  }
  std::string storage;
  EXPECT_THROW(file->view(8, 3, storage), Error);
  EXPECT_THROW(memory.view(11, 0, storage), Error);
}

}  // namespace
}  // namespace trireme::io
