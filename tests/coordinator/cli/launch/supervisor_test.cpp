// The supervisor against shell scripts that stand in for mpirun: real processes, signals and files.
#include "coordinator/cli/launch/supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "coordinator/cli/launch/process.h"
#include "coordinator/cli/launch/run_files.h"
#include "tests/support/eventually.h"

namespace trireme::coordinator::cli {
namespace {

using std::chrono::milliseconds;

class SupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("trireme-supervisor-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "run");
    options_.run_folder = folder_ / "run";
    options_.retry.backoff_seconds = 0;
    options_.look = options_.poll = milliseconds(5);
    options_.kill_limit = milliseconds(200);
    options_.say = [this](const std::string& line) { said_ += line + "\n"; };
    reset_stop_signals();
    catch_stop_signals();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // `body` runs in the run folder; $TRIREME_INCARNATION is set; `end STATE CODE` and `pulse N` write the
  // files.
  void script(const std::string& body) {
    const io::Path file = folder_ / "mpirun.sh";
    io::write_file_atomic(
        file,
        "#!/bin/sh\ncd '" + options_.run_folder.string() +
            "'\nend() { echo \"{\\\"state\\\":\\\"$1\\\",\\\"exit_code\\\":$2,\\\"retryable\\\":${3:-false},"
            "\\\"incarnation\\\":$TRIREME_INCARNATION,\\\"reason\\\":\\\"told so\\\"}\" > t; mv t "
            "terminal.json; }\n"
            "pulse() { echo "
            "\"{\\\"progress\\\":$1,\\\"incarnation\\\":$TRIREME_INCARNATION,\\\"pid\\\":$$}\" > p; mv p "
            "progress.json; }\n" +
            body + "\n",
        false, 0755);
    options_.command = {file.string()};
  }
  SupervisorResult run() { return supervise(options_); }
  std::string file(const char* name) const { return io::read_file(options_.run_folder / name); }
  // Sends ourselves a signal as soon as the script says that it is up, the next when it has heard the one
  // before.
  std::thread signals(int count) {
    return std::thread([this, count] {
      for (int i = 0; i < count; ++i) {
        const io::Path sign = options_.run_folder / (i == 0 ? "up" : "heard");
        EXPECT_TRUE(trireme::testing::eventually([&] { return io::exists(sign); })) << sign;
        ::kill(::getpid(), SIGTERM);
      }
    });
  }

  io::Path folder_;
  SupervisorOptions options_;
  std::string said_;
};

TEST_F(SupervisorTest, SuccessIsWhatTheTerminalFileSays) {
  script("pulse 1; end SUCCEEDED 0; exit 137");  // mpirun's own code is not trusted
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_EQ(file("incarnation"), "1\n");
  script("end FAILED 65");
  EXPECT_EQ(run().exit_code, 65);
  script("end CANCELLED 0");
  EXPECT_EQ(run().exit_code, 1);
  script("end STOPPED 0");
  EXPECT_EQ(run().exit_code, 75);
  EXPECT_EQ(file("incarnation"), "4\n");
}

TEST_F(SupervisorTest, TheEndOfMpirunIsSeenAtOnce) {
  script("sleep 0.2; pulse 1; end SUCCEEDED 0");
  options_.look = std::chrono::seconds(30);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(run().exit_code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
}

TEST_F(SupervisorTest, ExitZeroWithoutTerminalFileIsACrash) {
  script(
      "echo $TRIREME_INCARNATION >> runs; pulse $TRIREME_INCARNATION; [ $TRIREME_INCARNATION = 3 ] && end "
      "SUCCEEDED 0; exit 0");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.incarnations, 3);
  EXPECT_EQ(file("runs"), "1\n2\n3\n");
  EXPECT_NE(said_.find("incarnation 1 ended: mpirun ended with code 0"), std::string::npos) << said_;
}

TEST_F(SupervisorTest, RestartAndRetryableFailureStartAgain) {
  script(
      "pulse $TRIREME_INCARNATION; case $TRIREME_INCARNATION in 1) end RESTART 75 true;; 2) end FAILED 1 "
      "true;; *) end SUCCEEDED 0;; esac");
  EXPECT_EQ(run().incarnations, 3);
}

// Nobody asked it for anything for weeks, and it fell twelve times.
TEST_F(SupervisorTest, AStandingCoordinatorIsGivenUpOnlyForStartsInARow) {
  options_.calm = milliseconds(60);
  script("pulse 0; [ $TRIREME_INCARNATION = 13 ] && end STOPPED 0; sleep 0.1; exit 9");
  const SupervisorResult long_lived = run();
  EXPECT_EQ(long_lived.incarnations, 13);
  EXPECT_EQ(long_lived.exit_code, 75);
  options_.calm = std::chrono::minutes(10);
  script("pulse 0; exit 9");
  const SupervisorResult hopeless = run();
  EXPECT_EQ(hopeless.incarnations, 3);
  EXPECT_EQ(hopeless.exit_code, 93);
}

// A sweep's second job is the shorter one: it gets on, though it never reaches what the first had done.
TEST_F(SupervisorTest, AnotherJobsProgressCountsFromNothing) {
  script(
      "n=$TRIREME_INCARNATION; job=job-000002; [ $n = 1 ] && job=job-000001; "
      "done=$((n * 10)); [ $n = 1 ] && done=1000; [ $n = 7 ] && end SUCCEEDED 0; "
      "echo "
      "\"{\\\"progress\\\":$done,\\\"incarnation\\\":$n,\\\"pid\\\":$$,\\\"job\\\":{\\\"id\\\":\\\"$job\\\"}}"
      "\" > p; "
      "mv p progress.json; exit 9");
  EXPECT_EQ(run().incarnations, 7) << said_;
}

TEST_F(SupervisorTest, AWrongCommandLineAndATakenPortEndTheFirstStartByName) {
  const std::string line = "echo '2026-11-29T19:28:29.539Z ERROR worker/1 worker: cannot listen on b:1'; ";
  for (const int code : {2, 4}) {
    script(line + "exit " + std::to_string(code));
    const SupervisorResult result = run();
    EXPECT_EQ(result.exit_code, code);
    EXPECT_EQ(result.incarnations, 1);
    EXPECT_EQ(result.state, store::EndState::kFailed);
    EXPECT_EQ(result.reason, "worker 1: cannot listen on b:1");
  }
  // A rank of a start before may hold the port for a moment.
  script("pulse $TRIREME_INCARNATION; case $TRIREME_INCARNATION in 3) exit 9;; 4) " + line +
         "exit 4;; *) end SUCCEEDED 0;; esac");
  EXPECT_EQ(run().incarnations, 3);
  EXPECT_NE(said_.find("incarnation 4 ended: worker 1: cannot listen on b:1"), std::string::npos) << said_;
}

// F20.
TEST_F(SupervisorTest, ThreeStartsWithoutProgressGiveUp) {
  script("pulse 7; exit 1");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 93);
  EXPECT_EQ(result.incarnations, 4);  // the first one made progress
  EXPECT_NE(result.reason.find("no progress"), std::string::npos) << result.reason;
  const auto terminal = store::read_terminal({options_.run_folder});
  ASSERT_TRUE(terminal);
  EXPECT_EQ(terminal->state, store::EndState::kFailed);
  EXPECT_FALSE(terminal->retryable);
  EXPECT_EQ(terminal->exit_code, 93);
  EXPECT_EQ(run().incarnations, 3);  // what an earlier supervisor saw is no progress
}

TEST_F(SupervisorTest, AttemptsAreLimitedEvenWithProgress) {
  options_.retry.max_attempts = 5;
  script("pulse $TRIREME_INCARNATION; exit 1");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 93);
  EXPECT_EQ(result.incarnations, 5);
}

TEST_F(SupervisorTest, StaleTerminalFileOfAnEarlierIncarnationDoesNotCount) {
  script("echo '{\"state\":\"SUCCEEDED\",\"incarnation\":99}' > terminal.json; exit 1");
  EXPECT_EQ(run().exit_code, 93);
}

// mpirun would end all ranks at once: only the coordinator may get the signal.
TEST_F(SupervisorTest, SignalMeansCheckpointAndStop) {
  script(
      "trap 'echo wrong > saved' TERM\n"
      "sh -c 'trap \"echo saved > saved; exit 0\" TERM; echo $$ > rank; while :; do sleep 0.02; done' &\n"
      "while [ ! -s rank ]; do sleep 0.01; done\n"
      "echo \"{\\\"incarnation\\\":$TRIREME_INCARNATION,\\\"pid\\\":$(cat rank)}\" > p; mv p progress.json\n"
      "touch up; wait; end STOPPED 75");
  std::thread sender = signals(1);
  const SupervisorResult result = run();
  sender.join();
  EXPECT_EQ(result.exit_code, 75);
  EXPECT_EQ(result.state, store::EndState::kStopped);
  EXPECT_EQ(file("saved"), "saved\n");
}

// F19.
TEST_F(SupervisorTest, FinishedWorkAsksTheCoordinatorToLeave) {
  script("trap 'end STOPPED 0; exit 0' TERM; pulse 1; touch up; while :; do sleep 0.02; done");
  int polls = 0;
  options_.on_poll = [&] { polls += std::filesystem::exists(options_.run_folder / "up") ? 1 : 0; };
  options_.finished = [&] { return polls > 3; };
  const SupervisorResult result = run();
  EXPECT_EQ(result.state, store::EndState::kStopped);
  EXPECT_EQ(result.incarnations, 1);
  EXPECT_EQ(said_.find("checkpoint"), std::string::npos) << said_;  // nobody pressed Ctrl-C
}

TEST_F(SupervisorTest, SecondSignalKillsAtOnce) {
  script("trap 'touch heard' TERM\npulse 1; touch up\nwhile :; do sleep 0.02; done");
  std::thread sender = signals(2);
  const auto begun = std::chrono::steady_clock::now();
  const SupervisorResult result = run();
  sender.join();
  EXPECT_EQ(result.exit_code, 75);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
  EXPECT_TRUE(processes_marked("TRIREME_SUPERVISOR_PID", std::to_string(::getpid())).empty());
}

TEST_F(SupervisorTest, StopThatTakesTooLongIsEnded) {
  options_.stop_limit = milliseconds(200);
  script("trap '' TERM\npulse 1; touch up\nwhile :; do sleep 0.02; done");
  std::thread sender = signals(1);
  const SupervisorResult result = run();
  sender.join();
  EXPECT_EQ(result.exit_code, 75);
  EXPECT_NE(result.reason.find("did not stop in time"), std::string::npos) << result.reason;
}

TEST_F(SupervisorTest, SilentCoordinatorIsEndedAndStartedAgain) {
  options_.pulse_limit = milliseconds(300);
  script(
      "pulse $TRIREME_INCARNATION; [ $TRIREME_INCARNATION = 2 ] && { end SUCCEEDED 0; exit 0; }; trap '' "
      "TERM; while :; do sleep 0.02; done");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.incarnations, 2);
  EXPECT_NE(said_.find("no sign of life"), std::string::npos);
}

// F06: nothing but the pulse of a rank that starts can tell that it is frozen. A slow start beats on.
TEST_F(SupervisorTest, ARankThatStandsStillIsFoundInAnyPhase) {
  options_.frozen_limit = milliseconds(500);
  script(
      "beat() { mkdir -p pulse; echo \"$2 joining\" > pulse/rank-$1; }\n"
      "[ $TRIREME_INCARNATION = 3 ] && { for i in 1 2 3 4 5 6 7 8 9; do beat 0 $i; beat 1 $i; sleep 0.1; "
      "done; pulse 3; end "
      "SUCCEEDED 0; exit 0; }\n"
      "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do beat $((2 - $TRIREME_INCARNATION)) $i; beat "
      "$(($TRIREME_INCARNATION - 1)) 1; sleep 0.1; done; sleep 100");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 0) << said_;
  EXPECT_EQ(result.incarnations, 3);
  EXPECT_NE(said_.find("the coordinator stands still"), std::string::npos) << said_;
  EXPECT_NE(said_.find("worker 1 stands still"), std::string::npos) << said_;
}

// F10: the kernel counts whom it killed for memory; what that worker had in hand is to be known.
TEST_F(SupervisorTest, AKillForMemoryIsTold) {
  std::uint64_t kills = 7;
  options_.kills_for_memory = [&] { return kills++; };
  script(
      "pulse $TRIREME_INCARNATION; [ $TRIREME_INCARNATION = 1 ] && { echo 'process rank 2 with PID 0 on node "
      "n "
      "exited on signal 9 (Killed).'; exit 137; }; end SUCCEEDED 0");
  EXPECT_EQ(run().incarnations, 2);
  EXPECT_NE(said_.find("worker 2 was killed by signal 9 (out of memory)"), std::string::npos) << said_;
  EXPECT_TRUE(io::exists(options_.run_folder / "in-hand/memory-2-1"));
}

// F06: before its first pulse, which a worker that loads its libraries has not shown yet.
TEST_F(SupervisorTest, AProcessStoppedBeforeItsFirstPulseIsFound) {
  options_.frozen_limit = milliseconds(700);
  script(
      "[ $TRIREME_INCARNATION = 2 ] && { pulse 2; end SUCCEEDED 0; exit 0; }\n"
      "mkdir -p pulse; sh -c 'kill -STOP $$' & for i in $(seq 99); do echo \"$i joining\" > pulse/rank-0; "
      "sleep 0.1; done");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 0) << said_;
  EXPECT_EQ(result.incarnations, 2);
  EXPECT_NE(said_.find("(sh) stands still"), std::string::npos) << said_;
}

// F22: mpirun waits for a host that does not answer, and for SIGTERM it has no ear.
TEST_F(SupervisorTest, WhatTheCoordinatorSaidCountsAlthoughMpirunHangs) {
  options_.leave_limit = milliseconds(300);
  script(
      "pulse $TRIREME_INCARNATION; [ $TRIREME_INCARNATION = 2 ] && { end SUCCEEDED 0; trap '' TERM; while :; "
      "do sleep 0.02; "
      "done; }; end RESTART 75 true; trap '' TERM; while :; do sleep 0.02; done");
  const auto begun = std::chrono::steady_clock::now();
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.incarnations, 2);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
  EXPECT_TRUE(processes_marked("TRIREME_SUPERVISOR_PID", std::to_string(::getpid())).empty());
}

TEST_F(SupervisorTest, HostsAreAskedAgainUnlessAProcessWasKilledInPlace) {
  int asked = 0;
  script(
      "pulse $TRIREME_INCARNATION; case $TRIREME_INCARNATION in 1) echo 'process rank 2 with PID 0 on node n "
      "exited on signal "
      "9 (Killed).'; exit 137;; 2) exit 205;; *) end SUCCEEDED 0;; esac");
  options_.next_command = [&, command = options_.command] {
    ++asked;
    return command;
  };
  EXPECT_EQ(run().incarnations, 3);
  EXPECT_EQ(asked, 1);
  EXPECT_NE(said_.find("incarnation 1 ended: worker 2 was killed by signal 9"), std::string::npos) << said_;
  EXPECT_NE(said_.find("incarnation 2 ended: mpirun ended with code 205"), std::string::npos)
      << said_;  // no signal 77
}

TEST_F(SupervisorTest, CoordinatorThatNeverStartsIsEnded) {
  options_.start_limit = milliseconds(100);
  script("sleep 100");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 93);
  EXPECT_NE(result.reason.find("did not start"), std::string::npos);
}

// Ranks lead process groups of their own under Open MPI: the mark finds them all the same.
TEST_F(SupervisorTest, OrphansAreKilledBeforeTheNextStart) {
  script(
      "pulse $TRIREME_INCARNATION\n[ $TRIREME_INCARNATION = 2 ] && { end SUCCEEDED 0; exit 0; }\nsetsid sh "
      "-c 'echo $$ > orphan; exec sleep 100' &\n"
      "while [ ! -s orphan ]; do sleep 0.01; done; kill -9 $$");
  const SupervisorResult result = run();
  EXPECT_EQ(result.exit_code, 0);
  const std::string orphan = file("orphan");
  EXPECT_FALSE(orphan.empty());
  for (const pid_t left : processes_marked("TRIREME_INCARNATION", "1"))
    EXPECT_NE(std::to_string(left) + "\n", orphan);
}

// F15.
TEST_F(SupervisorTest, SecondSupervisorIsRefusedAndNamesTheHolder) {
  const io::FileLock held(options_.run_folder / "LOCK");
  script("end SUCCEEDED 0");
  try {
    run();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.kind()), 4);
    EXPECT_NE(std::string(error.what()).find(std::to_string(::getpid())), std::string::npos);
  }
  EXPECT_FALSE(std::filesystem::exists(options_.run_folder / "incarnation"));
}

TEST_F(SupervisorTest, MissingProgramIsAnErrorNotALoop) {
  options_.command = {"/no/such/mpirun"};
  EXPECT_THROW(run(), Error);
}

TEST_F(SupervisorTest, OutputIsKept) {
  script("echo out; echo err >&2; end SUCCEEDED 0");
  run();
  EXPECT_EQ(file("logs/mpirun.log"), "out\nerr\n");
}

TEST(StopSignals, AClosedTerminalIsOneUnlessItIsIgnored) {
  struct sigaction before {};
  ::sigaction(SIGHUP, nullptr, &before);
  reset_stop_signals();
  ::signal(SIGHUP, SIG_IGN);  // as under nohup
  catch_stop_signals();
  ::raise(SIGHUP);
  EXPECT_EQ(stop_signals(), 0);
  ::signal(SIGHUP, SIG_DFL);
  catch_stop_signals();
  ::raise(SIGHUP);
  EXPECT_EQ(stop_signals(), 1);
  reset_stop_signals();
  ::sigaction(SIGHUP, &before, nullptr);
}

TEST(Backoff, FirstRetryAtOnceThenDoubling) {
  const auto seconds = [](int failures) { return backoff(failures, 1, 60).count(); };
  EXPECT_EQ(seconds(0), 0);
  EXPECT_EQ(seconds(1), 0);
  EXPECT_EQ(seconds(2), 1);
  EXPECT_EQ(seconds(3), 2);
  EXPECT_EQ(seconds(7), 32);
  EXPECT_EQ(seconds(9), 60);
  EXPECT_EQ(seconds(1000000), 60);
}

}  // namespace
}  // namespace trireme::coordinator::cli
