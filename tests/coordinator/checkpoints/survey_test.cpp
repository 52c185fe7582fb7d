// Nobody's checkpoint is lost: what is taken up, refused, left alone, and what alone may go.
#include "coordinator/checkpoints/survey.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "coordinator/checkpoints/difference.h"
#include "tests/coordinator/checkpoints/sample_checkpoint.h"

namespace trireme::coordinator::checkpoints {
namespace {

class SurveyTest : public testing::Test {
 protected:
  io::Path output = quick_place("survey");
  KnownCheckpoints known{{}, "run-1", 3, 7};

  void SetUp() override { io::remove_tree(output); }
  void TearDown() override { io::remove_tree(output); }
  static std::vector<std::string> names(const std::vector<io::Path>& paths) {
    std::vector<std::string> out;
    for (const auto& path : paths) out.push_back(path.filename().string());
    return out;
  }
};

TEST_F(SurveyTest, SealedButNotCommittedIsTakenUpAndWhatIsBrokenLeftAlone) {
  const auto whole = sealed_checkpoint(output, 10, "aaaaaaaa11");
  const auto broken = sealed_checkpoint(output, 20, "aaaaaaaa11");
  io::write_file_atomic(io::Path(broken.folder) / "model.safetensors", "short", false);
  const auto survey = survey_checkpoints(output, known);
  ASSERT_EQ(survey.adopted.size(), 1U);
  EXPECT_EQ(survey.adopted[0].folder, whole.folder);
  EXPECT_EQ(survey.adopted[0].manifest_xxh3, whole.manifest_xxh3);
  EXPECT_EQ(survey.adopted[0].bytes, whole.bytes);
  EXPECT_EQ(survey.adopted[0].step, 10);
  ASSERT_EQ(survey.broken.size(), 1U);
  EXPECT_NE(survey.broken[0].find("model.safetensors"), std::string::npos);
  EXPECT_TRUE(survey.leftovers.empty());
  EXPECT_TRUE(survey.unknown.empty());
}

TEST_F(SurveyTest, AnotherLedgersCheckpointsAreUnknownAndNeverLeftovers) {
  sealed_checkpoint(output, 10, "aaaaaaaa11", "run-2");
  const auto survey = survey_checkpoints(output, known);
  ASSERT_EQ(survey.unknown.size(), 1U);
  EXPECT_EQ(survey.unknown[0].run_id, "run-2");
  EXPECT_TRUE(survey.leftovers.empty());
  EXPECT_TRUE(survey.adopted.empty());
}

TEST_F(SurveyTest, OnlyWhatThisLedgerRetiredOrLeftHalfWrittenMayGo) {
  auto retired = sealed_checkpoint(output, 10, "aaaaaaaa11");
  auto replaced = sealed_checkpoint(output, 20, "aaaaaaaa11");
  auto kept = sealed_checkpoint(output, 30, "bbbbbbbb22", "run-2");
  retired.state = replaced.state = ledger::CheckpointState::kRetired;
  replaced.manifest_xxh3 ^= 1;  // a person has put another checkpoint there since
  kept.state = ledger::CheckpointState::kKept;
  known.rows = {retired, replaced, kept};
  for (const char* half : {".tmp-5-2", ".tmp-5-3", ".tmp-5-6", ".tmp-5-7", ".tmp-x", "notes"})
    io::write_file_atomic(output / "ckpt/train" / half / "model.safetensors", "", false);
  const auto survey = survey_checkpoints(output, known);
  EXPECT_EQ(names(survey.leftovers), (std::vector<std::string>{"step-00000010", ".tmp-5-3", ".tmp-5-6"}));
  EXPECT_TRUE(survey.unknown.empty());
  ASSERT_EQ(survey.adopted.size(), 1U);
  EXPECT_EQ(survey.adopted[0].step, 20);
}

TEST_F(SurveyTest, ANameThatIsTakenIsNeverReplaced) {
  const auto first = sealed_checkpoint(output, 10, "aaaaaaaa11"),
             second = sealed_checkpoint(output, 10, "bbbbbbbb22"),
             third = sealed_checkpoint(output, 10, "bbbbbbbb22");
  EXPECT_TRUE(first.folder.ends_with("/step-00000010"));
  EXPECT_TRUE(second.folder.ends_with("/step-00000010-bbbbbbbb"));
  EXPECT_TRUE(third.folder.ends_with("/step-00000010-bbbbbbbb-2"));
  for (const auto& row : {first, second, third}) EXPECT_EQ(checkpoint_fault(row), "");
}

TEST_F(SurveyTest, TheNewestUnnamedManifestTellsHowFarTheLedgerWas) {
  auto named = sealed_checkpoint(output, 40, "aaaaaaaa11");
  sealed_checkpoint(output, 30, "aaaaaaaa11");
  sealed_checkpoint(output, 90, "aaaaaaaa11", "run-2");
  known.rows = {named};
  EXPECT_EQ(newest_manifest(output, known).sequence, 30U);
}

TEST_F(SurveyTest, OldOnesGoAndDamagedOnesOnlyBehindWholeOnes) {
  std::vector<ledger::CheckpointRow> rows;
  for (std::int64_t step = 1; step <= 6; ++step) {
    ledger::CheckpointRow row;
    row.folder = "/o/ckpt/train/step-" + std::to_string(step);
    row.address = step == 6 ? "other" : "mine";
    row.step = step;
    row.state = step == 1 || step == 4 ? ledger::CheckpointState::kBad : ledger::CheckpointState::kCommitted;
    row.best = step == 2 ? 1 : 0;
    rows.push_back(row);
  }
  std::vector<std::int64_t> steps;
  for (const auto& row : superseded(rows, rows[4], 1)) steps.push_back(row.step);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{4, 3, 1}));
  EXPECT_EQ(resumable(rows, "/o/ckpt/train", "mine").front().step, 5);
}

TEST_F(SurveyTest, TracesAreWhatARunLeaves) {
  EXPECT_EQ(traces_of_a_run(output), "");
  io::write_file_atomic(output / "logs/rank-0.log", "", false);
  io::write_file_atomic(output / "progress.json", R"({"sequence":0})", false);
  io::make_folders(output / "stages");
  EXPECT_EQ(traces_of_a_run(output), "");
  io::write_file_atomic(output / "progress.json", R"({"sequence":17})", false);
  EXPECT_NE(traces_of_a_run(output).find("17"), std::string::npos);
  sealed_checkpoint(output, 10, "aaaaaaaa11");
  io::write_file_atomic(output / "final/model.safetensors", "", false);
  EXPECT_NE(traces_of_a_run(output).find("final/, ckpt/train/step-00000010"), std::string::npos);
  try {
    refuse_unknown(output, "checkpoints", {"a", "b"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.kind()), 65);
    for (const char* way : {"a, b", "ledger restore", "--resume-from", "--afresh"})
      EXPECT_NE(std::string(error.what()).find(way), std::string::npos) << error.what();
  }
}

TEST(Difference, NamesTheSettingsThatTheStageNames) {
  const auto found = differences(spec_with(0.1), spec_with(0.2), "train");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].setting, "optimizer.learning_rate");
  EXPECT_EQ(found[0].was, "0.1");
  EXPECT_EQ(found[0].now, "0.2");
  EXPECT_TRUE(differences(spec_with(0.1), spec_with(0.1), "train").empty());
  std::string other = spec_with(0.1);
  other.replace(other.find("\"path\":\"a\""), 10, "\"path\":\"b\"");
  other.replace(other.find("\"embed_dim\":8"), 13, "\"layers\":2");
  std::vector<std::string> names;
  for (const auto& one : differences(spec_with(0.1), other, "train"))
    names.push_back(one.setting + ":" + one.was + ":" + one.now);
  EXPECT_EQ(names,
            (std::vector<std::string>{"data.d.path:\"a\":\"b\"", "model.embed_dim:8:", "model.layers::2"}));
  EXPECT_EQ(differences(spec_with(0.1), "{}", "train").front().now, "");
}

}  // namespace
}  // namespace trireme::coordinator::checkpoints
