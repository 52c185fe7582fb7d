// What stands behind a door reaches its roots and nothing else, whatever changes under it (F61).
#include "common/io/door.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

namespace fs = std::filesystem;

class DoorTest : public ::testing::Test {
 protected:
  Path top = temporary_folder() / ("trireme-door-" + std::to_string(::getpid()));
  Path data = top / "data", out = top / "out", secret = top / "secret";
  void SetUp() override {
    for (const Path& folder : {data / "inner", out / "service", secret}) make_folders(folder);
    write_file_atomic(secret / "key", "secret");
    write_file_atomic(data / "a", "open");
    write_file_atomic(data / "inner/b", "open");
    write_file_atomic(out / "service/token", "secret");
    fs::create_symlink(secret, data / "away");
    fs::create_symlink("../secret/key", data / "up");
    fs::create_symlink(data / "inner", data / "whole_name");
    fs::create_symlink("inner/b", data / "near");
  }
  void TearDown() override { remove_tree(top); }
  Roots roots() const { return {{data}, {out}, {out / "service"}}; }

  template <class Call>
  static bool refused(const Call& call) {
    try {
      call();
      return false;
    } catch (const Error& error) {
      // A folder that is a link and leads out is, for whoever would make it, a name that is taken by no
      // folder.
      EXPECT_TRUE(error.kind() == ErrorKind::kInvalid || error.kind() == ErrorKind::kNotFound)
          << error.what();
      return true;
    }
  }
};

TEST_F(DoorTest, ReadsBeneathTheRootsAlone) {
  const Door door(roots());
  const Behind behind(&door);
  for (const char* inside : {"a", "near", "whole_name/b", "inner/../a", "./inner//b"})
    EXPECT_EQ(read_file(data / inside), "open") << inside;
  for (const Path& outside :
       {secret / "key", data / "../secret/key", data / "away/key", data / "up", Path("/etc/passwd"),
        Path("/proc/self/environ"), out / "service/token", out / "../out/service/token"}) {
    EXPECT_TRUE(refused([&] { read_file(outside); })) << outside;
    EXPECT_TRUE(refused([&] { MappedFile map(outside); })) << outside;
    EXPECT_FALSE(io::exists(outside)) << outside;
  }
  EXPECT_TRUE(refused([&] { list_folder(data / "away"); }));
  EXPECT_TRUE(refused([&] { files_below(secret); }));
  EXPECT_EQ(list_folder(data / "inner"), std::vector<Path>{data / "inner/b"});
  EXPECT_EQ(files_below(data / "whole_name"), std::vector<Path>{data / "whole_name/b"});
  EXPECT_THROW(read_file(data / "not_there"), Error);
}

TEST_F(DoorTest, WritesBeneathTheWritableRootsAlone) {
  const Door door(roots());
  const Behind behind(&door);
  write_file_atomic(out / "x/y/z", "made");
  EXPECT_EQ(read_file(out / "x/y/z"), "made");
  rename_durably(out / "x/y/z", out / "x/w");
  EXPECT_EQ(size_of(out / "x/w"), 4U);
  fs::create_symlink(secret, out / "link");
  fs::create_symlink(secret / "key", out / "file");
  for (const Path& outside :
       {data / "new", secret / "new", out / "link/new", out / "../secret/new", out / "service/new"}) {
    EXPECT_TRUE(refused([&] { write_file_atomic(outside, "no"); })) << outside;
    EXPECT_TRUE(refused([&] { FileWriter writer(outside); })) << outside;
    EXPECT_TRUE(refused([&] { make_folders(outside / "folder"); })) << outside;
    EXPECT_TRUE(refused([&] { rename_file(out / "x/w", outside); })) << outside;
    EXPECT_TRUE(refused([&] { LineAppender log(outside); })) << outside;
  }
  EXPECT_TRUE(refused([&] { FileWriter writer(out / "file"); }));
  EXPECT_TRUE(refused([&] { link_or_copy(secret / "key", out / "copy"); }));
  EXPECT_TRUE(refused([&] { remove_tree(out / "link/key"); }));
  EXPECT_TRUE(remove_tree(out / "link"));  // the link itself
  EXPECT_TRUE(remove_tree(out / "x"));
  const Behind open(nullptr);
  EXPECT_EQ(read_file(secret / "key"), "secret");
  EXPECT_EQ(list_folder(secret).size(), 1U);
  EXPECT_EQ(list_folder(out / "service").size(), 1U);
}

// A folder that another process swaps for a link between two looks: what is opened is never the secret.
TEST_F(DoorTest, NothingSwappedLeadsOut) {
  write_file_atomic(data / "swapped/key", "open");
  const Door door(roots());
  std::atomic<bool> over{false};
  std::thread swapper([&] {
    while (!over) {
      fs::rename(data / "swapped", data / "kept");
      fs::create_symlink(secret, data / "swapped");
      fs::remove(data / "swapped");
      fs::rename(data / "kept", data / "swapped");
    }
  });
  const Behind behind(&door);
  int read = 0;
  for (int i = 0; i < 20000; ++i) {
    try {
      EXPECT_EQ(read_file(data / "swapped/key"), "open");
      ++read;
    } catch (const Error&) {
    }
  }
  over = true;
  swapper.join();
  EXPECT_GT(read, 0);
}

TEST_F(DoorTest, ThreadsOfTheProcessAndFilesAsRoots) {
  const Door door({{data / "a"}, {out}, {}});
  {
    const Behind behind(&door, Behind::Who::kProcess);
    std::thread([&] {
      EXPECT_EQ(read_file(data / "a"), "open");
      EXPECT_TRUE(refused([&] { read_file(data / "inner/b"); }));
      const Behind nothing(nullptr);
      EXPECT_EQ(read_file(data / "inner/b"), "open");
    }).join();
  }
  EXPECT_EQ(read_file(secret / "key"), "secret");
}

TEST_F(DoorTest, ABudgetEnds) {
  const Door door(roots(), std::chrono::steady_clock::now() - std::chrono::seconds(1));
  const Behind behind(&door);
  try {
    read_file(data / "a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  }
}

}  // namespace
}  // namespace trireme::io
