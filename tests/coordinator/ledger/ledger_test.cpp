#include "coordinator/ledger/ledger.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "coordinator/ledger/result_json.h"
#include "tests/coordinator/ledger/sample_ledger.h"

namespace trireme::coordinator::ledger {
namespace {

class LedgerTest : public testing::Test {
 protected:
  io::Path folder = quick_folder() / ("trireme-ledger-" + std::to_string(::getpid()));
  RealClock clock;
  void SetUp() override { std::filesystem::remove_all(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  Ledger open(std::uint64_t incarnation) {
    return Ledger({.folder = folder, .incarnation = Incarnation{incarnation}, .reserve_bytes = 4096}, clock);
  }
};

TEST_F(LedgerTest, KeepsEveryRowAndEventOverARestart) {
  std::string reference;
  {
    Ledger ledger = open(1);
    fill(ledger, 30);
    reference = dump(ledger);
  }
  Ledger again = open(2);
  EXPECT_EQ(dump(again), reference);
  const auto events = again.events("", 0, 1000000);
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i].sequence, i + 1);
  EXPECT_EQ(events.back().event.kind, "RunOpened");
  EXPECT_EQ(events.back().incarnation, 2U);
  EXPECT_EQ(again.last_sequence(), events.size());
  EXPECT_EQ(again.last_lease().value, 30U);
}

TEST_F(LedgerTest, FilesAreForTheOwnerOnly) {
  Ledger ledger = open(1);
  fill(ledger, 1);
  const auto mode = [](const io::Path& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 0777;
  };
  EXPECT_EQ(mode(folder), 0700U);
  for (const char* name : {"state.db", "state.db-wal", "mark", "reserve"})
    EXPECT_EQ(mode(folder / name), 0600U);
}

TEST_F(LedgerTest, ASecondOpenerIsTurnedAwayAtOnce) {
  Ledger first = open(1);
  try {
    Ledger second = open(2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConflict);
    EXPECT_EQ(exit_code(error.kind()), 4);
  }
  fill(first, 2);  // undisturbed
}

TEST_F(LedgerTest, AnOlderIncarnationIsTurnedAway) {
  { Ledger ledger = open(5); }
  for (const std::uint64_t late : {4U, 5U}) {
    try {
      Ledger ledger = open(late);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kConflict);
    }
  }
  Ledger ledger = open(6);
}

TEST_F(LedgerTest, ATransactionNeedsAnEvent) {
  Ledger ledger = open(1);
  EXPECT_THROW(ledger.commit({JobRow{.job = "job-1"}}), Error);
}

TEST_F(LedgerTest, TheLogIsMergedOnceItIsLong) {
  Ledger ledger(
      {.folder = folder, .incarnation = Incarnation{1}, .reserve_bytes = 4096, .merge_bytes = 1U << 20},
      clock);
  fill(ledger, 400);
  EXPECT_GT(ledger.file_bytes("db"), 50000U);
  EXPECT_LT(ledger.file_bytes("wal"), 3U << 20);
}

TEST_F(LedgerTest, AManifestFromTheFutureIsDamage) {
  Ledger ledger = open(1);
  ledger.require_at_least(1, "x");
  try {
    ledger.require_at_least(9, "ckpt/step-1/manifest.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
  }
}

TEST_F(LedgerTest, TheReserveIsReleasedAndTakenAgain) {
  Ledger ledger = open(1);
  EXPECT_TRUE(std::filesystem::exists(folder / "reserve"));
  ledger.release_reserve();
  EXPECT_FALSE(std::filesystem::exists(folder / "reserve"));
  EXPECT_TRUE(ledger.restore_reserve());
  EXPECT_TRUE(std::filesystem::exists(folder / "reserve"));
}

// F13: a process killed at each ledger fault point, at each hit. What commit() returned from is there after
// the restart, and nothing is half done: state rows equal what their events say.
TEST_F(LedgerTest, KillAtEveryFaultPointLosesNothingAcknowledged) {
  for (const std::string point :
       {"ledger.before_commit", "ledger.wal_written_before_sync", "ledger.after_commit_before_mark",
        "ledger.after_commit_before_act", "ledger.during_wal_merge"}) {
    for (int hit = 1; hit <= 7; hit += 3) {
      std::filesystem::remove_all(folder);
      const auto acknowledged_file = folder.parent_path() / (folder.filename().string() + "-acknowledged");
      std::filesystem::remove(acknowledged_file);
      const pid_t child = ::fork();
      if (child == 0) {
        ::setenv("TRIREME_FAULT", (point + ":" + std::to_string(hit) + ":kill9").c_str(), 1);
        ::setenv("TRIREME_FAULT_INCARNATION", "any", 1);
        arm_fault_points(0, 1);
        Ledger ledger(
            {.folder = folder, .incarnation = Incarnation{1}, .reserve_bytes = 4096, .merge_bytes = 100000},
            clock);
        io::LineAppender acknowledged(acknowledged_file);
        for (int i = 1; i <= 60; ++i) {
          grant(ledger, i);
          acknowledged.append(std::to_string(i));
        }
        ::_exit(0);
      }
      int status = 0;
      ::waitpid(child, &status, 0);
      ASSERT_TRUE(WIFSIGNALED(status)) << point << " was never hit " << hit << " times";
      Ledger ledger = open(2);
      std::map<std::uint64_t, std::string> states;
      ledger.for_each_lease("job-1",
                            [&](const LeaseRow& row) { states[row.lease.value] = name_of(row.state); });
      std::size_t granted = 0;
      for (const auto& row : ledger.events("", 0, 100000)) granted += row.event.kind == "LeaseGranted";
      EXPECT_EQ(granted, states.size()) << point;
      if (std::filesystem::exists(acknowledged_file)) {
        const std::string lines = io::read_file(acknowledged_file);
        const auto count = static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n'));
        EXPECT_GE(states.size(), count) << point << " hit " << hit;
        EXPECT_LE(states.size(), count + 1) << point << " hit " << hit;
      }
      std::filesystem::remove(acknowledged_file);
    }
  }
}

TEST(JobStateTest, TerminalIsTerminalAndOnlyStoppingEnds) {
  for (int from = 0; from <= static_cast<int>(JobState::kCancelled); ++from) {
    for (int to = 0; to <= static_cast<int>(JobState::kCancelled); ++to) {
      const auto a = static_cast<JobState>(from), b = static_cast<JobState>(to);
      if (is_terminal(a)) {
        EXPECT_FALSE(may_move(a, b));
      } else if (is_terminal(b)) {
        EXPECT_EQ(may_move(a, b), a == JobState::kStopping);
      }
    }
    const auto state = static_cast<JobState>(from);
    EXPECT_EQ(from_name<JobState>(name_of(state)), state);
  }
  EXPECT_TRUE(may_move(JobState::kRunning, JobState::kRecovering));
  EXPECT_FALSE(may_move(JobState::kQueued, JobState::kRunning));
}

TEST(ResultJsonTest, RoundTrip) {
  jobs::TaskDone done;
  done.lease = LeaseId{7};
  done.reused = true;
  done.outputs = {{"", "/s/a.idx", 12, 0xFEDCBA9876543210}, {"thumbnails", "/s/t", 3, 4}};
  done.counts = {{"in", 256}, {"dropped.min_words", 3}};
  done.summary = R"({"samples":3})";
  done.seconds = 0.25;
  const auto back = result_from_json(result_json(done), LeaseId{7});
  EXPECT_EQ(result_json(back), result_json(done));
  EXPECT_EQ(back.outputs[0].xxh3, 0xFEDCBA9876543210);
  EXPECT_THROW(result_from_json("{}", LeaseId{1}), Error);
}

TEST_F(LedgerTest, AJobsEventsAreItsOwnAndThoseOfNone) {
  Ledger ledger = open(1);
  for (int i = 0; i < 200; ++i)
    ledger.commit({Event{"Counted", i % 7 == 0 ? "" : "job-" + std::to_string(i % 3), std::to_string(i)}});
  for (const std::string job : {"job-0", "job-1", "job-2", "job-9", ""})
    for (const std::uint64_t after : {0U, 1U, 50U, 200U, 201U, 1000U})
      for (const std::int64_t limit : {1, 10, 1000}) {
        std::vector<std::uint64_t> want, got;
        for (const auto& row : ledger.events("", 0, 1000))
          if (row.sequence > after && (job.empty() || row.event.job.empty() || row.event.job == job) &&
              static_cast<std::int64_t>(want.size()) < limit)
            want.push_back(row.sequence);
        for (const auto& row : ledger.events(job, after, limit)) got.push_back(row.sequence);
        EXPECT_EQ(got, want) << job << " after " << after << ", at most " << limit;
      }
}

// F63, RELIABILITY 7.2: a page of a job's events < 50 ms, and replay < 2 s.
TEST_F(LedgerTest, AMillionEventsAreReplayedInTwoSeconds) {
  constexpr int kEvents = 1000000, kBatch = 10000;
  {
    Ledger ledger = open(1);
    for (int done = 0; done < kEvents; done += kBatch) {
      Batch batch;
      for (int i = done; i < done + kBatch; ++i)
        batch.emplace_back(Event{"LeaseDone", i < 100 ? "job-000001" : "job-000002",
                                 R"({"lease":)" + std::to_string(i) + R"(,"task":"1.0.0.1.0"})"});
      ledger.commit(batch);
    }
    EXPECT_EQ(ledger.events("job-000001", 0, 100).size(), 100U);
  }
  Ledger again = open(2);
  EXPECT_LT(again.start_seconds(), 2.0);
  const auto begin = std::chrono::steady_clock::now();
  const auto last =
      again.events("job-000001", 100, 1000);  // one of its own is left, and RunOpened far behind
  const auto middle = again.events("job-000002", kEvents / 2, 1000);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(last.size(), 2U);
  EXPECT_EQ(middle.size(), 1000U);
  EXPECT_LT(took.count(), 50.0);
  RecordProperty("replay_seconds", std::to_string(again.start_seconds()));
  RecordProperty("two_pages_ms", std::to_string(took.count()));
}

}  // namespace
}  // namespace trireme::coordinator::ledger
