// Jobs on a clock that stands still: ids, edges, who is next, what is counted, and what a restart reads back.
#include "coordinator/service/books/job_book.h"

#include <gtest/gtest.h>

#include <optional>

#include "common/base/error.h"
#include "tests/coordinator/checkpoints/sample_checkpoint.h"

namespace trireme::coordinator::service {
namespace {

using ledger::JobState;

class JobBookTest : public testing::Test {
 protected:
  io::Path folder = checkpoints::quick_place("jobs");
  ManualClock clock;
  telemetry::Metrics metrics{"", 0};
  std::optional<ledger::Ledger> ledger;
  std::optional<JobBook> book;
  jobs::JobSpec spec =
      jobs::read_job(io::read_file(io::Path(TRIREME_SOURCE_DIR) / "jobs/examples/tiny.json")).job;

  void SetUp() override {
    io::remove_tree(folder);
    open(1);
  }
  void TearDown() override { io::remove_tree(folder); }
  void open(std::uint64_t incarnation) {
    book.reset();
    ledger.reset();
    ledger.emplace(
        ledger::LedgerOptions{
            .folder = folder, .incarnation = Incarnation{incarnation}, .reserve_bytes = 4096},
        clock);
    book.emplace(*ledger, metrics, clock);
  }
  Job& add(const std::string& name) {
    Decision decision;
    spec.name = name;
    Job& job = book->add(spec, "key-" + name, 7, decision);
    ledger->commit(decision.writes);
    return job;
  }
  void move(Job& job, std::initializer_list<JobState> states) {
    Decision decision;
    for (const JobState state : states) book->move(job, state, "because", decision);
    ledger->commit(decision.writes);
  }
};

TEST_F(JobBookTest, OneRunsAtATimeInSubmitOrder) {
  EXPECT_EQ(book->run_next(), nullptr);
  Job& first = add("a");
  add("b");
  EXPECT_EQ(first.row.job, "job-000001");
  EXPECT_EQ(book->run_next(), &first);
  EXPECT_TRUE(book->runs(first));
  move(first, {JobState::kStarting, JobState::kStopping, JobState::kFailed});
  book->run_none();
  EXPECT_EQ(book->running(), nullptr);
  EXPECT_EQ(book->shown(), &first);
  EXPECT_EQ(book->run_next()->row.job, "job-000002");
  EXPECT_THROW(book->find("job-000003"), Error);
}

TEST_F(JobBookTest, OnlyTimeInWhichItRunsCounts) {
  Job& job = add("a");
  clock.advance(std::chrono::seconds(5));
  EXPECT_EQ(book->active_seconds(job), 0);
  book->run_next();
  clock.advance(std::chrono::seconds(3));
  EXPECT_EQ(book->active_seconds(job), 3);
  move(job, {JobState::kStarting, JobState::kRunning});
  clock.advance(std::chrono::seconds(4));
  EXPECT_EQ(book->active_seconds(job), 7);
  move(job, {JobState::kRecovering});
  open(2);
  Job& again = book->find("job-000001");
  EXPECT_EQ(book->active_seconds(again), 7);
  EXPECT_EQ(again.row.cause, "because");
  EXPECT_EQ(again.spec.name, "a");
  book->run_next();
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(book->active_seconds(again), 8);
}

TEST_F(JobBookTest, AnEdgeThatDoesNotExistIsRefused) {
  Job& job = add("a");
  Decision decision;
  EXPECT_THROW(book->move(job, JobState::kRunning, "", decision), Error);
  EXPECT_TRUE(decision.writes.empty());
  EXPECT_EQ(job.row.state, JobState::kQueued);
}

TEST_F(JobBookTest, AdoptingGoesOnWithTheSameAndReplacesAnother) {
  add("a");
  Decision decision;
  spec.name = "a";
  book->adopt(spec, decision);
  EXPECT_EQ(book->all().size(), 1U);
  spec.name = "b";
  book->adopt(spec, decision);
  ledger->commit(decision.writes);
  EXPECT_EQ(book->find("job-000001").row.state, JobState::kCancelled);
  EXPECT_EQ(book->find("job-000002").spec.name, "b");
}

TEST_F(JobBookTest, TheFirstProgressOfAStartIsWrittenOnce) {
  Job& job = add("a");
  job.row.without_progress = 2;
  book->run_next();
  Decision decision;
  book->note_progress(decision);
  book->note_progress(decision);
  EXPECT_EQ(decision.writes.size(), 1U);
  EXPECT_EQ(job.row.without_progress, 0);
}

TEST_F(JobBookTest, StagesArePlannedOnceAndReadBack) {
  Job& job = add("a");
  Decision decision;
  book->plan_fixed(job, {{"filter", "filter"}, {"train", "train"}}, decision);
  book->plan_fixed(job, {{"other", "filter"}}, decision);
  book->stage_committed(job, 1, R"({"done":1})", decision);
  ledger->commit(decision.writes);
  open(2);
  const auto& stages = book->find("job-000001").stages;
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(name_of(stages.at(0).state), "open");
  EXPECT_EQ(stages.at(1).stage, "train");
  EXPECT_EQ(name_of(stages.at(1).state), "committed");
  EXPECT_EQ(stages.at(1).plan, R"({"done":1})");
}

}  // namespace
}  // namespace trireme::coordinator::service
