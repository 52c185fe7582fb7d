// The stage with steps that are read when the next one has been launched, as on a GPU, here on the CPU: the
// same rows, checkpoints, returns to checkpoints and stops as with steps that are read at once.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "tests/worker/stages/train/support/stopped_job.h"
#include "tests/worker/stages/train/support/tiny_job.h"

namespace trireme::worker::stages::train {
namespace {

using nlohmann::json;

std::string folder_of_test() {
  return ::testing::TempDir() + "/trireme-read-later/" +
         ::testing::UnitTest::GetInstance()->current_test_info()->name();
}

class Reads {
 public:
  explicit Reads(const char* when) { ::setenv("TRIREME_STEP_READS", when, 1); }
  ~Reads() { ::unsetenv("TRIREME_STEP_READS"); }
  Reads(const Reads&) = delete;
  Reads& operator=(const Reads&) = delete;
};

TinyJob::Outcome train(TinyJob& job, const char* when, int ranks, const std::string& resume_from = "") {
  const Reads reads(when);
  return job.train(when, ranks, resume_from);
}

std::vector<json> rows_of(const TinyJob& job, const std::string& run) {
  std::ifstream file(job.log(run));
  std::vector<json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(json::parse(line));
  return rows;
}

void expect_same_rows(const TinyJob& job, std::size_t count) {
  const auto now = rows_of(job, "now"), later = rows_of(job, "later");
  ASSERT_EQ(now.size(), count);
  ASSERT_EQ(later.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    for (const char* same : {"step", "epoch", "samples", "live", "learning_rate", "order_hash"})
      EXPECT_EQ(now[i][same], later[i][same]) << same << " of row " << i;
    for (const char* flag : {"skipped", "non_finite", "rolled_back_to"})  // to the same weights by some name
      EXPECT_EQ(now[i].contains(flag), later[i].contains(flag)) << flag << " of row " << i;
    if (now[i]["loss"].is_null()) continue;
    EXPECT_NEAR(now[i]["loss"].get<double>(), later[i]["loss"].get<double>(), 1e-3) << "row " << i;
  }
}

TinyJob with_a_bad_sample(std::int64_t epochs) {
  TinyJob job(folder_of_test());
  job.model.image.frozen = job.model.text.frozen = true;
  job.stored_features = job.broken_feature = true;
  job.settings.standardize_features = false;
  job.settings.epochs = epochs;
  return job;
}

TEST(ReadLater, WordsOfTheEnvironmentAreReadOrRefused) {
  TinyJob job(folder_of_test());
  job.settings.steps = 1;
  EXPECT_NE(train(job, "never", 1).error.find("TRIREME_STEP_READS is 'never'"), std::string::npos);
  ::setenv("TRIREME_TRAINING_GRAPHS", "yes", 1);
  EXPECT_NE(train(job, "now", 1).error.find("TRIREME_TRAINING_GRAPHS is 'yes'"), std::string::npos);
  ::unsetenv("TRIREME_TRAINING_GRAPHS");
}

TEST(ReadLater, EverythingCombinedIsTheSameAndIsResumedToTheSameBits) {
  TinyJob job(folder_of_test());
  job.combine_everything();
  job.settings.epochs = 3;
  job.settings.evaluate_every = {.steps = 5, .data = "test"};
  job.checkpoint_every_steps = 4;
  ASSERT_EQ(train(job, "now", 1).error, "");
  const auto whole = train(job, "later", 2);
  ASSERT_EQ(whole.error, "");
  expect_same_rows(job, whole.reports.size());
  const auto weights = io::hex(io::xxh3_of_file(job.output("later") + "/model.safetensors"));
  EXPECT_NE(weights, io::hex(io::xxh3_of_file(job.output("now") + "/model.safetensors")))
      << "nothing was read later";
  ASSERT_FALSE(whole.checkpoints.empty());
  ASSERT_EQ(train(job, "later", 1, whole.checkpoints.front()).error, "");
  EXPECT_EQ(weights, io::hex(io::xxh3_of_file(job.output("later") + "/model.safetensors")));
}

TEST(ReadLater, StepsThatAreNotFiniteAreSkippedOrEndTheStage) {
  TinyJob job = with_a_bad_sample(4);
  ASSERT_EQ(train(job, "now", 2).error, "");
  const auto skipped = train(job, "later", 2);
  ASSERT_EQ(skipped.error, "");
  EXPECT_EQ(skipped.done.counts.at("skipped_steps"), 4);
  expect_same_rows(job, skipped.reports.size());
  job.settings.guard.on_non_finite = jobs::OnNonFinite::kStop;
  const auto stopped = train(job, "later", 2);
  EXPECT_EQ(stopped.error_kind, ErrorKind::kInvalid);
  EXPECT_NE(stopped.error.find("was not finite"), std::string::npos) << stopped.error;
}

// The step that was launched behind it begins again, from the weights of the checkpoint.
TEST(ReadLater, RollsBackToTheCommittedCheckpoint) {
  TinyJob job = with_a_bad_sample(3);
  job.commit = true;
  job.settings.guard = {.on_non_finite = jobs::OnNonFinite::kRollback, .most_rollbacks = 3};
  job.checkpoint_every_steps = 2;
  job.await_checkpoints = true;
  // An order in which the bad sample first comes behind the first checkpoint.
  for (job.settings.seed = 1; job.settings.seed < 9; ++job.settings.seed)
    if (train(job, "now", 2).error.empty()) break;
  const auto outcome = train(job, "later", 2);
  ASSERT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.done.counts.at("rollbacks"), 3);
  expect_same_rows(job, 9);
}

TEST(ReadLater, StopsAfterACheckpointWhenAskedTo) {
  TinyJob job(folder_of_test());
  job.settings.epochs = 4;
  job.commit = true;
  const Reads reads("later");
  stop_with_checkpoint(job, "part");
}

}  // namespace
}  // namespace trireme::worker::stages::train
