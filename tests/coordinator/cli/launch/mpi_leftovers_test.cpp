#include "coordinator/cli/launch/mpi_leftovers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::coordinator::cli {
namespace {

class MpiLeftovers : public ::testing::Test {
 protected:
  io::Path top = io::temporary_folder() / ("trireme-leftovers-" + std::to_string(::getpid()));
  std::string host, user = std::to_string(::geteuid());
  void SetUp() override {
    char name[256] = "";
    ::gethostname(name, sizeof name - 1);
    host = name;
  }
  void TearDown() override { io::remove_tree(top); }
  io::Path make(const io::Path& path, bool folder, bool old = true) {
    if (folder)
      io::make_folders(path);
    else
      io::write_file_atomic(path, "x");
    const timespec ago{old ? ::time(nullptr) - 3600 : ::time(nullptr), 0};
    const timespec times[2] = {ago, ago};
    EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    return path;
  }
};

TEST_F(MpiLeftovers, OfTheDeadAloneAndOfThisHost) {
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const io::Path sessions = top / "tmp" / ("ompi." + host + "." + user), shared = top / "shm";
  const auto dead = make(sessions / ("pid." + std::to_string(gone)), true);
  const auto alive = make(sessions / ("pid." + std::to_string(::getpid())), true);
  const auto other = make(sessions / "something", true);
  const auto segment = make(shared / ("vader_segment." + host + ".0.1.2"), false);
  const auto young = make(shared / ("vader_segment." + host + ".0.1.3"), false, false);
  const auto used = make(shared / ("vader_segment." + host + ".0.1.4"), false);
  const auto elsewhere = make(shared / "vader_segment.another-host.0.1.2", false);
  const auto foreign = make(shared / "sem.other", false);
  const io::MappedFile held(used);
  EXPECT_EQ(sweep_mpi_leftovers(top / "tmp", shared), 2);
  for (const auto& path : {dead, segment}) EXPECT_FALSE(io::exists(path)) << path;
  for (const auto& path : {alive, other, young, used, elsewhere, foreign})
    EXPECT_TRUE(io::exists(path)) << path;
}

// What cannot be read is gone by then; of one that lives and does not tell, everything may be in use.
TEST_F(MpiLeftovers, AProcessThatEndsMeanwhileIsNoFault) {
  const io::Path shared = top / "shm", processes = top / "proc";
  const auto segment = make(shared / ("vader_segment." + host + ".0.1.2"), false);
  io::make_folders(processes / std::to_string(::getpid()) / "maps");
  EXPECT_EQ(sweep_mpi_leftovers(top / "tmp", shared, processes), 0);
  io::remove_tree(processes);
  io::make_folders(processes / "2000000000" / "maps");  // above every process's number
  EXPECT_EQ(sweep_mpi_leftovers(top / "tmp", shared, processes), 1);
  EXPECT_FALSE(io::exists(segment));
}

}  // namespace
}  // namespace trireme::coordinator::cli
