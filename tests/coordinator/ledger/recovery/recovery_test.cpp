// RELIABILITY 8.4, the ways out: losing the ledger never looks like a first start, backups verify, and
// restoring moves what was there aside and loses nothing that can be read.
#include "coordinator/ledger/recovery/restore.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "coordinator/ledger/sql.h"
#include "tests/coordinator/ledger/sample_ledger.h"
#include "tests/support/faulty_files.h"

namespace trireme::coordinator::ledger {
namespace {

class RecoveryTest : public ::testing::Test {
 protected:
  io::Path run = quick_folder() / ("trireme-recovery-" + std::to_string(::getpid()));
  ManualClock clock;
  std::string dumped;

  void SetUp() override { io::remove_tree(run); }
  void TearDown() override { io::remove_tree(run); }

  LedgerOptions options(std::uint64_t incarnation, const std::string& traces = "") {
    return {.folder = run / "ledger",
            .incarnation = Incarnation{incarnation},
            .reserve_bytes = 4096,
            .traces = traces};
  }
  // Some leases, a backup, and more leases.
  void make(int before = 6, int after = 3) {
    Ledger ledger(options(1), clock);
    fill(ledger, before);
    back_up(ledger);
    dumped = dump(ledger);
    for (int i = 1; i <= after; ++i) grant(ledger, before + i);
  }
  void back_up(Ledger& ledger) {
    const io::Path place = snapshot_place(run);
    ledger.snapshot(place);
    keep_backup(place, run);
  }
  std::string refusal(const LedgerOptions& with) {
    try {
      Ledger ledger(with, clock);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << error.what();
      return error.what();
    }
    return "";
  }
};

TEST_F(RecoveryTest, ALostLedgerIsNotAFirstStart) {
  EXPECT_NE(refusal(options(1, "final/")).find("final/"), std::string::npos);
  EXPECT_FALSE(io::exists(run / "ledger/state.db")) << "nothing may be made";
  make();
  // As a crash leaves it, with all of it in the log.
  io::remove_file(run / "ledger/mark");
  io::remove_file(run / "ledger/state.db-wal");
  for (int again = 2; again < 4; ++again) {
    const std::string text = refusal(options(static_cast<std::uint64_t>(again), "progress.json"));
    EXPECT_NE(text.find("progress.json"), std::string::npos) << text;
    EXPECT_NE(text.find("trireme ledger restore"), std::string::npos) << text;
  }
}

TEST_F(RecoveryTest, ABackupHoldsEverythingAndTheNewestTwoStay) {
  Ledger ledger(options(1), clock);
  fill(ledger, 4);
  for (int i = 0; i < 3; ++i) {
    grant(ledger, 10 + i);
    back_up(ledger);
  }
  const auto backups = backups_of(run);
  ASSERT_EQ(backups.size(), 2U);
  const auto state = look_at_ledger(backups[0], {}, run / "look");
  EXPECT_EQ(state.fault, "");
  EXPECT_EQ(state.sequence, ledger.last_sequence());
  EXPECT_EQ(state.run_id, ledger.run_id());
  EXPECT_EQ(state.jobs, 1U);
  EXPECT_FALSE(io::exists(run / "look"));
  EXPECT_EQ(io::list_folder(run / "backup").size(), 2U);
  ledger.merge_wal();
  EXPECT_EQ(ledger.file_bytes("wal"), 0U);
}

TEST_F(RecoveryTest, ADamagedSnapshotIsNoBackup) {
  make();
  const io::Path place = snapshot_place(run);
  std::string bytes = io::read_file(backups_of(run)[0]);
  bytes.replace(bytes.find("LeaseGranted"), 12, "LeaseWritten");
  io::write_file_atomic(place, bytes, false);
  EXPECT_THROW(keep_backup(place, run), Error);
  EXPECT_EQ(backups_of(run).size(), 1U);
}

TEST_F(RecoveryTest, ABackupThatIsNotOnTheDiskReplacesNone) {
  Ledger ledger(options(1), clock);
  fill(ledger, 2);
  back_up(ledger);
  grant(ledger, 3);
  const auto before = backups_of(run);
  trireme::testing::FaultyFiles files;
  for (int* fault : {&files.sync_fault, &files.rename_fault}) {
    const io::Path place = snapshot_place(run);
    ledger.snapshot(place);
    *fault = EIO;
    EXPECT_THROW(keep_backup(place, run, files), Error);
    *fault = 0;
    EXPECT_EQ(backups_of(run), before);
  }
  back_up(ledger);
  EXPECT_EQ(backups_of(run).size(), 2U);
}

TEST_F(RecoveryTest, WithoutTheFolderTheBackupIsInstalled) {
  make();
  io::remove_tree(run / "ledger");
  const auto situation = look_at_run(run);
  EXPECT_FALSE(situation.current.present);
  const LedgerState* best = best_of(situation);
  ASSERT_NE(best, nullptr);
  EXPECT_EQ(install(*best, run), io::Path());
  Ledger ledger(options(2), clock);
  EXPECT_EQ(dump(ledger), dumped);
}

TEST_F(RecoveryTest, WhatVerifiesWithoutItsMarkIsNewerThanTheBackup) {
  make(6, 3);
  const std::uint64_t sequence = look_at_run(run).current.sequence;
  io::remove_file(run / "ledger/mark");
  auto situation = look_at_run(run);
  EXPECT_NE(situation.current.fault.find("mark"), std::string::npos) << situation.current.fault;
  EXPECT_EQ(best_of(situation)->sequence, sequence);
  EXPECT_NE(refusal(options(2)), "") << "looking must not have mended it";
  const io::Path old = install(*best_of(situation), run);
  EXPECT_TRUE(io::exists(old / "state.db"));
  Ledger ledger(options(2), clock);
  EXPECT_EQ(ledger.last_lease().value, 9U);
}

TEST_F(RecoveryTest, WhatWasAcknowledgedAfterTheBackupIsReadFromWhatWasSetAside) {
  make(6, 3);
  // One bit of a row in the log; its events can still be read.
  {
    Database database(run / "ledger/state.db");
    set_up(database);
    database.run("UPDATE leases SET why = 'x' WHERE lease = 2");
  }
  auto situation = look_at_run(run);
  EXPECT_NE(situation.current.fault.find("leases"), std::string::npos) << situation.current.fault;
  const auto* best = best_of(situation);
  ASSERT_NE(best, nullptr);
  EXPECT_EQ(best->file, backups_of(run)[0]);
  const auto sequence = best->sequence;
  const io::Path old = install(*best, run);
  EXPECT_EQ(old, run / "ledger/damaged-1");
  const auto lost = events_after(old, sequence);
  ASSERT_EQ(lost.size(), 3U);
  EXPECT_EQ(lost[0].event.kind, "LeaseGranted");
  EXPECT_EQ(lost[0].sequence, sequence + 1);
  Ledger ledger(options(2), clock);
  EXPECT_EQ(dump(ledger), dumped);
  EXPECT_EQ(ledger.first_incarnation(), 1U);
}

TEST_F(RecoveryTest, SettingAsideDeletesNothing) {
  make();
  const auto before = io::files_below(run).size();
  EXPECT_EQ(set_aside(run, true), run / "ledger/damaged-1");
  EXPECT_EQ(io::files_below(run).size(), before);
  EXPECT_EQ(set_aside(run, true), io::Path());
  EXPECT_TRUE(backups_of(run).empty());
}

}  // namespace
}  // namespace trireme::coordinator::ledger
