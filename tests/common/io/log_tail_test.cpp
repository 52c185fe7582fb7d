#include "common/io/log_tail.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace trireme::io {
namespace {

class Folder {
 public:
  Folder()
      : path(std::filesystem::temp_directory_path() / ("trireme-log-tail-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  const Path path;
};

TEST(LogTail, HandsOutWholeLinesOnce) {
  const Folder folder;
  std::ofstream one(folder.path / "rank-1.log"), two(folder.path / "rank-10.log"),
      other(folder.path / "mpirun.log");
  other << "not a rank\n" << std::flush;
  LogTail tail(folder.path, -1, -1);
  one << "a\nb" << std::flush;
  two << "z\n" << std::flush;
  EXPECT_EQ(tail.next(), "a\nz\n");
  EXPECT_EQ(tail.next(), "");
  one << "c\n" << std::flush;
  EXPECT_EQ(tail.next(), "bc\n");
  EXPECT_EQ(LogTail(folder.path, 1, 1).next(), "bc\n");
  EXPECT_EQ(LogTail(folder.path, -1, 0).next(), "");
  EXPECT_EQ(LogTail(folder.path / "none", -1, -1).next(), "");
}

TEST(LogTail, StartsAtMostAMebibyteBack) {
  const Folder folder;
  std::ofstream file(folder.path / "rank-0.log");
  for (int i = 0; i < 300000; ++i) file << "line " << i << "\n";
  file << std::flush;
  LogTail tail(folder.path, -1, -1);
  std::string all;
  for (std::string part = tail.next(); !part.empty(); part = tail.next()) all += part;
  EXPECT_LE(all.size(), 1U << 20);
  EXPECT_EQ(all.rfind("line ", 0), 0U);
  EXPECT_EQ(all.substr(all.size() - 12), "line 299999\n");
}

}  // namespace
}  // namespace trireme::io
