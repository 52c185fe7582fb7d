#include "common/io/machine/in_hand.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "common/io/folder.h"

namespace trireme::io {
namespace {

class InHandTest : public ::testing::Test {
 protected:
  Path run = temporary_folder() / ("trireme-in-hand-" + std::to_string(::getpid()));
  void TearDown() override { remove_tree(run); }
  Path file(int rank) const { return run / ("in-hand/rank-" + std::to_string(rank) + "-3"); }

  // A worker of incarnation 3 ends in `body`; the signal that it died by, 0 when it left by itself.
  int worker(int rank, const std::function<void()>& body) const {
    const pid_t child = ::fork();
    if (child == 0) {
      InHand mine(file(rank), 3);
      mine.begin("job-1", "filter", "/data/7.tar");
      body();
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
};

TEST_F(InHandTest, ACrashLeavesSignalTaskAndTheSampleOfItsThread) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    const int died = worker(2, [&] {
      const SampleScope outer;
      take_in_hand("/data/7.tar", "one");
      std::thread([&] {
        const SampleScope scope;
        take_in_hand("/data/7.tar", "before");
        {
          const SampleScope inner;
          take_in_hand("/data/8.tar", "two");
        }
        signal == SIGABRT ? std::abort() : static_cast<void>(::raise(signal));
      }).join();
    });
    EXPECT_EQ(died, signal);
    const auto crashes = crashes_before(run, 4);
    ASSERT_EQ(crashes.size(), 1U);
    EXPECT_EQ(crashes[0].incarnation, 3U);
    EXPECT_EQ(crashes[0].rank, 2);
    EXPECT_EQ(crashes[0].signal, signal);
    EXPECT_EQ(crashes[0].job + " " + crashes[0].stage + " " + crashes[0].shard, "job-1 filter /data/7.tar");
    EXPECT_EQ(crashes[0].sample_shard + " " + crashes[0].sample, "/data/8.tar two");
    EXPECT_TRUE(crashes_before(run, 3).empty());  // of this incarnation: not over
  }
  forget_crashes(run, 4);
  EXPECT_TRUE(list_folder_if_there(run / "in-hand").empty());
}

// What several go through together is no single one's fault, what one goes through is.
TEST_F(InHandTest, AModelHasAllOfABatchInHand) {
  for (const bool alone : {false, true}) {
    EXPECT_EQ(
        worker(
            1,
            [&] {
              const SampleScope scope;
              take_in_hand("/data/7.tar", "one");
              take_in_hand("/data/7.tar", "two");
              take_together(alone ? std::vector<std::string>{"two"} : std::vector<std::string>{"one", "two"});
              ::raise(SIGSEGV);
            }),
        SIGSEGV);
    const auto crashes = crashes_before(run, 4);
    ASSERT_EQ(crashes.size(), 1U);
    EXPECT_EQ(crashes[0].sample, alone ? "two" : "");
    EXPECT_EQ(crashes[0].shard, "/data/7.tar");
  }
}

TEST_F(InHandTest, SuspectsAreTriedOneByOneUntilTheyAreForgotten) {
  name_suspects(run, {"/data/5.tar", "/data/7.tar"});
  InHand mine(file(1), 3);
  mine.begin("job-1", "embed", "/data/7.tar");
  EXPECT_TRUE(one_by_one());
  mine.begin("job-1", "embed", "/data/8.tar");
  EXPECT_FALSE(one_by_one());
  mine.begin("job-1", "embed", "/data/5.tar");
  EXPECT_TRUE(one_by_one());
  mine.end();
  EXPECT_FALSE(one_by_one());
  forget_crashes(run, 3);
  mine.begin("job-1", "embed", "/data/7.tar");
  EXPECT_FALSE(one_by_one());
}

// What no thread has in hand any more, a death from outside, an orderly end: nobody is to blame.
TEST_F(InHandTest, OthersAreNotBlamed) {
  EXPECT_EQ(worker(1,
                   [] {
                     take_in_hand("/data/7.tar", "outside of a scope");
                     {
                       const SampleScope scope;
                       take_in_hand("/data/7.tar", "done");
                     }
                     ::raise(SIGSEGV);
                   }),
            SIGSEGV);
  const auto crashes = crashes_before(run, 4);
  ASSERT_EQ(crashes.size(), 1U);
  EXPECT_EQ(crashes[0].sample, "");
  EXPECT_EQ(crashes[0].shard, "/data/7.tar");
  forget_crashes(run, 4);
  const auto in_hand = [] {
    const SampleScope scope;
    take_in_hand("/data/7.tar", "one");
    ::raise(SIGKILL);
  };
  EXPECT_EQ(worker(1, in_hand), SIGKILL);
  EXPECT_TRUE(crashes_before(run, 4).empty());
  note_out_of_memory(run, 1, 3);  // unless the kernel did it for memory
  ASSERT_EQ(crashes_before(run, 4).size(), 1U);
  EXPECT_EQ(crashes_before(run, 4)[0].sample, "one");
  forget_crashes(run, 4);
  { const InHand orderly(file(1), 3); }
  EXPECT_TRUE(list_folder_if_there(run / "in-hand").empty());
}

}  // namespace
}  // namespace trireme::io
