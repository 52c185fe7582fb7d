#include <array>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/mailbox/local/local_mailbox.h"
#include "tests/common/mailbox/exchange.h"

namespace trireme {
namespace {
TEST(LocalMailbox, Suite) {
  for (const int ranks : {1, 2, 4}) {
    auto boxes = make_local_mailboxes(ranks);
    std::vector<std::string> faults(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < boxes.size(); ++rank)
      threads.emplace_back([&, rank] {
        test::Peer peer{*boxes[rank]};
        faults[rank] = test::whole_suite(peer);
        if (faults[rank].empty()) faults[rank] = test::nothing_left(peer);
      });
    for (auto& thread : threads) thread.join();
    for (const auto& fault : faults) EXPECT_EQ(fault, "");
  }
}

TEST(LocalMailbox, OldReplaceableMailGivesWay) {
  auto boxes = make_local_mailboxes(2);
  boxes[1]->send(0, "beat 1", true);
  boxes[1]->send(0, "result");
  boxes[1]->send(0, "beat 2", true);
  EXPECT_EQ(boxes[1]->unsent_bytes(), 12U);
  EXPECT_EQ(boxes[0]->poll()->bytes, "result");
  EXPECT_EQ(boxes[0]->poll()->bytes, "beat 2");
  EXPECT_FALSE(boxes[0]->poll().has_value());
  EXPECT_THROW(boxes[0]->send(2, "x"), Error);
}

std::string output_of(const std::string& command, int& status) {
  std::string text;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::array<char, 4096> piece{};
  while (std::fgets(piece.data(), piece.size(), pipe) != nullptr) text += piece.data();
  status = ::pclose(pipe);
  return text;
}

TEST(MpiMailbox, Suite) {
  if (std::system("command -v mpirun > /dev/null 2>&1") != 0)
    GTEST_SKIP()
        << "SKIPPED: mpirun is not installed, the MPI mailbox stays unjudged (apt install openmpi-bin)";
  const auto program = std::filesystem::canonical("/proc/self/exe").parent_path() / "mailbox_mpi_ranks";
  for (const int ranks : {2, 3}) {
    int status = -1;
    const std::string text = output_of(
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 100 mpirun --oversubscribe "
        "--bind-to none -n " +
            std::to_string(ranks) + " '" + program.string() + "'",
        status);
    EXPECT_EQ(status, 0) << text;
    for (int rank = 0; rank < ranks; ++rank)
      EXPECT_NE(text.find("rank " + std::to_string(rank) + ": ok"), std::string::npos) << text;
  }
}
}  // namespace
}  // namespace trireme
