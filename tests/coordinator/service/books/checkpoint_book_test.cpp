// The checkpoints of a ledger, on a clock that stands still: sealed, taken up, chosen from, retired, kept.
#include "coordinator/service/books/checkpoint_book.h"

#include <gtest/gtest.h>

#include <optional>

#include "common/base/error.h"
#include "coordinator/ledger/recovery/backup.h"
#include "tests/coordinator/checkpoints/sample_checkpoint.h"

namespace trireme::coordinator::service {
namespace {

using checkpoints::written_checkpoint;

class CheckpointBookTest : public testing::Test {
 protected:
  io::Path run = checkpoints::quick_place("book");
  ManualClock clock;
  telemetry::Metrics metrics{"", 0};
  std::optional<ledger::Ledger> ledger;
  EventQueue events;
  Background aside;
  std::optional<CheckpointBook> book;

  void SetUp() override {
    io::remove_tree(run);
    open(1);
  }
  void TearDown() override {
    aside.finish();
    io::remove_tree(run);
  }
  void open(std::uint64_t incarnation) {
    book.reset();
    ledger.reset();
    ledger.emplace(
        ledger::LedgerOptions{
            .folder = run / "ledger", .incarnation = Incarnation{incarnation}, .reserve_bytes = 4096},
        clock);
    book.emplace(CheckpointBook::World{&*ledger, &aside, &events, &metrics, &clock, run});
  }
  void commit(Decision& decision) {
    if (!decision.writes.empty()) ledger->commit(decision.writes);
    for (auto& act : decision.after) act();
  }
  // What the helper thread has to say.
  void settle() {
    auto arrived = events.take(std::chrono::seconds(10));
    ASSERT_FALSE(arrived.empty());
    Decision decision;
    for (auto& event : arrived) event(decision);
    commit(decision);
  }
  void seal(std::int64_t step, const std::string& address, std::int64_t keep_last = 2) {
    bool told = false;
    book->seal(written_checkpoint(run, step, address, ledger->run_id()), keep_last,
               [&](const ledger::CheckpointRow* row, Decision&) {
                 told = true;
                 ASSERT_NE(row, nullptr);
                 EXPECT_EQ(row->step, step);
               });
    EXPECT_TRUE(book->sealing());
    while (!told) settle();
    EXPECT_FALSE(book->sealing());
  }
  jobs::Task task(const std::string& address) {
    jobs::Task gang;
    gang.stage = "train";
    gang.address = address;
    gang.checkpoint_folder = (run / "ckpt/train").string();
    return gang;
  }
  CheckpointBook::Start start(const std::string& address, double learning_rate = 0.1) {
    std::optional<CheckpointBook::Start> found;
    book->find_start(task(address), checkpoints::spec_with(learning_rate),
                     [&](const CheckpointBook::Start& one, Decision&) { found = one; });
    while (!found) settle();
    return *found;
  }
  std::vector<std::string> on_disk() {
    std::vector<std::string> names;
    for (const auto& path : io::list_folder_if_there(run / "ckpt/train"))
      names.push_back(path.filename().string());
    return names;
  }
  std::string state_of(std::int64_t step) {
    for (const auto& row : ledger->checkpoints())
      if (row.step == step) return std::string(name_of(row.state));
    return "";
  }
};

TEST_F(CheckpointBookTest, OlderOnesOfTheSameSettingsAreRetiredAndOthersStay) {
  seal(10, "aaaaaaaa11");
  seal(5, "bbbbbbbb22");
  for (const std::int64_t step : {20, 30}) seal(step, "aaaaaaaa11");
  aside.finish();
  EXPECT_EQ(on_disk(), (std::vector<std::string>{"step-00000005", "step-00000020", "step-00000030"}));
  EXPECT_EQ(state_of(10), "retired");
  EXPECT_EQ(book->highest_step(), 30);
  EXPECT_EQ(book->resume_step(), 30);
}

TEST_F(CheckpointBookTest, WhatIsNotAsTheGangReportedIsToldAndNotCommitted) {
  auto order = written_checkpoint(run, 10, "aaaaaaaa11", ledger->run_id());
  io::write_file_atomic(io::Path(order.written.folder) / "model.safetensors", "other", false);
  bool told = false;
  book->seal(order, 2, [&](const ledger::CheckpointRow* row, Decision&) { told = row == nullptr; });
  while (book->sealing()) settle();
  EXPECT_TRUE(told);
  EXPECT_TRUE(ledger->checkpoints().empty());
  EXPECT_TRUE(on_disk().empty());
}

TEST_F(CheckpointBookTest, EverySettingGoesOnWhereItWas) {
  seal(10, "aaaaaaaa11");
  EXPECT_EQ(start("bbbbbbbb22").resume_from, "");
  Decision decision;
  book->settle_others(task("bbbbbbbb22"), true, decision);
  EXPECT_TRUE(decision.writes.empty());
  seal(10, "bbbbbbbb22");
  EXPECT_EQ(start("aaaaaaaa11").resume_from, (run / "ckpt/train/step-00000010").string());
  EXPECT_EQ(start("bbbbbbbb22").resume_from, (run / "ckpt/train/step-00000010-bbbbbbbb").string());
  book->settle_others(task("bbbbbbbb22"), false, decision);  // checkpoint.keep_other_settings: false
  commit(decision);
  aside.finish();
  EXPECT_EQ(on_disk(), (std::vector<std::string>{"step-00000010-bbbbbbbb"}));
}

TEST_F(CheckpointBookTest, ADamagedOneGivesWayAndComesBackWhenItIsWholeAgain) {
  seal(10, "aaaaaaaa11");
  seal(20, "aaaaaaaa11");
  const io::Path file = run / "ckpt/train/step-00000020/model.safetensors";
  const std::string bytes = io::read_file(file);
  io::write_file_atomic(file, "torn", false);
  EXPECT_EQ(start("aaaaaaaa11").step, 10);
  EXPECT_EQ(state_of(20), "bad");
  io::write_file_atomic(file, bytes, false);
  EXPECT_EQ(start("aaaaaaaa11").step, 20);
  EXPECT_EQ(state_of(20), "committed");
}

TEST_F(CheckpointBookTest, ADiskThatIsNotThereWritesNothingOff) {
  seal(10, "aaaaaaaa11");
  io::rename_file(run / "ckpt", run / "elsewhere");
  for (int again = 0; again < 2; ++again) {
    const auto found = start("aaaaaaaa11");
    EXPECT_NE(found.fault.find("manifest.json"), std::string::npos) << found.fault;
    EXPECT_EQ(found.kind, ErrorKind::kDamaged);
    EXPECT_EQ(state_of(10), "committed");
  }
  io::rename_file(run / "elsewhere", run / "ckpt");
  EXPECT_EQ(start("aaaaaaaa11").step, 10);
}

TEST_F(CheckpointBookTest, TheOneThatAPersonNamedIsTakenOrRefusedByItsDifference) {
  auto chosen = checkpoints::sealed_checkpoint(run, 10, "aaaaaaaa11", "run-lost");
  auto later = checkpoints::sealed_checkpoint(run, 20, "aaaaaaaa11", "run-lost");
  chosen.state = ledger::CheckpointState::kChosen;
  later.state = ledger::CheckpointState::kKept;
  ledger->commit({chosen, later, ledger::Event{"LedgerStartedAfresh", "", "{}"}});
  open(2);
  EXPECT_TRUE(book->knows_of(run));
  const auto other = start("bbbbbbbb22", 0.2);
  EXPECT_EQ(other.kind, ErrorKind::kInvalid);
  EXPECT_NE(other.fault.find("optimizer.learning_rate was 0.1 and is 0.2"), std::string::npos) << other.fault;
  EXPECT_EQ(start("aaaaaaaa11").step, 10);
  EXPECT_EQ(state_of(10), "adopted");
  EXPECT_EQ(start("aaaaaaaa11").step, 10);
  seal(20, "aaaaaaaa11", 1);
  aside.finish();
  EXPECT_EQ(on_disk(), (std::vector<std::string>{"step-00000010", "step-00000020", "step-00000020-aaaaaaaa"}))
      << "what another ledger wrote stays, also the one that this one goes on from";
}

TEST_F(CheckpointBookTest, WhatTheLedgerDoesNotKnowIsRefusedAndUntouched) {
  checkpoints::sealed_checkpoint(run, 10, "aaaaaaaa11", "run-lost");
  EXPECT_THROW(CheckpointBook::look_into(run, book->known(), true), Error);
  EXPECT_EQ(on_disk(), (std::vector<std::string>{"step-00000010"}));
  io::remove_tree(run / "ckpt");
  io::write_file_atomic(run / "final/model.safetensors", "", false);
  EXPECT_THROW(CheckpointBook::look_into(run, book->known(), false), Error);
  EXPECT_NO_THROW(CheckpointBook::look_into(run, book->known(), true));
}

TEST_F(CheckpointBookTest, ACrashBetweenRenameAndCommitLosesNothing) {
  checkpoints::sealed_checkpoint(run, 10, "aaaaaaaa11", ledger->run_id());
  open(2);
  Decision decision;
  book->take_up(CheckpointBook::look_into(run, book->known(), true), decision);
  commit(decision);
  EXPECT_EQ(start("aaaaaaaa11").step, 10);
}

TEST_F(CheckpointBookTest, EveryCheckpointIsFollowedByABackup) {
  seal(10, "aaaaaaaa11");
  aside.finish();
  const auto backups = ledger::backups_of(run);
  ASSERT_EQ(backups.size(), 1U);
  EXPECT_EQ(ledger::look_at_ledger(backups[0], {}, run / "look").checkpoints, 1U);
}

}  // namespace
}  // namespace trireme::coordinator::service
