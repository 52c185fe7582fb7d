#include "jobs/store/run_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "tests/support/faulty_files.h"

namespace trireme::store {
namespace {

class RunFiles : public ::testing::Test {
 protected:
  RunPaths run{io::temporary_folder() / ("trireme-run-files-" + std::to_string(::getpid()))};
  void SetUp() override { io::make_folders(run.path); }
  void TearDown() override { io::remove_tree(run.path); }
};

TEST_F(RunFiles, IncarnationsGrowAndGarbageIsRefused) {
  EXPECT_EQ(raise_incarnation(run), 1U);
  EXPECT_EQ(raise_incarnation(run), 2U);
  io::write_file_atomic(run.incarnation(), "41\n", false);
  EXPECT_EQ(raise_incarnation(run), 42U);
  for (const char* bad : {"", "x", "1 2", "-3", "99999999999999999999999"}) {
    io::write_file_atomic(run.incarnation(), bad, false);
    EXPECT_THROW(raise_incarnation(run), Error) << bad;
  }
}

TEST_F(RunFiles, AnIncarnationThatIsNotStoredIsNotHandedOut) {
  trireme::testing::FaultyFiles files;
  EXPECT_EQ(raise_incarnation(run, files), 1U);
  files.sync_fault = EIO;
  EXPECT_THROW(raise_incarnation(run, files), Error);
  files.sync_fault = 0;
  EXPECT_EQ(raise_incarnation(run, files), 2U);
}

TEST_F(RunFiles, TerminalComesBack) {
  EXPECT_FALSE(read_terminal(run));
  write_terminal(run, {EndState::kFailed, "bad \xff byte", true, 75, 12, 10, 3});
  const auto found = read_terminal(run);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state, EndState::kFailed);
  EXPECT_EQ(found->reason, "bad \xef\xbf\xbd byte");
  EXPECT_TRUE(found->retryable);
  EXPECT_EQ(found->exit_code, 75);
  EXPECT_EQ(found->progress, 12);
  EXPECT_EQ(found->step, 10);
  EXPECT_EQ(found->incarnation, 3U);
  io::write_file_atomic(run.terminal(), "{\"state\":\"RESTART\"}", false);
  EXPECT_EQ(read_terminal(run)->state, EndState::kRestart);
  EXPECT_EQ(read_terminal(run)->progress, -1);
  for (const char* damaged : {"{\"state\":7}", "{\"state\":\"RECOVERING\"}", "{\"state\":"}) {
    io::write_file_atomic(run.terminal(), damaged, false);
    EXPECT_FALSE(read_terminal(run)) << damaged;
  }
}

TEST_F(RunFiles, ProgressIsOneLineInItsOrder) {
  write_progress(run, {3, 17, 99, 5, R"({"b":1,"a":[0.1]})"}, "2026-01-02T03:04:05Z");
  EXPECT_EQ(io::read_file(run.progress()),
            "{\"format\":\"trireme-progress\",\"version\":1,\"incarnation\":3,\"pid\":99,\"sequence\":17,"
            "\"progress\":5,\"time\":\"2026-01-02T03:04:05Z\",\"job\":{\"b\":1,\"a\":[0.1]}}\n");
  const auto found = read_progress(run);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, 99);
  EXPECT_EQ(found->sequence, 17U);
  EXPECT_EQ(found->progress, 5);
  write_progress(run, {3, 18, 99, 5, "null"}, "");
  EXPECT_EQ(read_progress(run)->job, "null");
  io::write_file_atomic(run.progress(), "{}", false);
  EXPECT_FALSE(read_progress(run)->progress);
}

TEST_F(RunFiles, EndpointIsWrittenAndMissedByName) {
  try {
    read_endpoint(run);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  }
  write_endpoint(run, {"http://127.0.0.1:4242", "run-1", 7, 2});
  EXPECT_EQ(read_endpoint(run).url, "http://127.0.0.1:4242");
  EXPECT_EQ(read_endpoint(run).incarnation, 2U);
  io::write_file_atomic(run.endpoint(), "[]", false);
  EXPECT_THROW(read_endpoint(run), Error);
}

}  // namespace
}  // namespace trireme::store
