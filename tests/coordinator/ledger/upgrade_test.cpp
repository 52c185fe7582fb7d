// Ledgers that earlier versions left: tests/golden/ledger/version-1.tar.gz is of a small training (filter,
// train, evaluate, index; 8 shards, two workers) whose processes were killed at step 53, version-2.tar.gz of
// tiny.json (8 shards, two workers), killed at step 40. What must be in them was counted by Python's sqlite3.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "coordinator/ledger/recovery/backup.h"
#include "coordinator/ledger/sql.h"
#include "coordinator/ledger/tables.h"
#include "tests/coordinator/ledger/sample_ledger.h"

namespace trireme::coordinator::ledger {
namespace {

class UpgradeTest : public testing::Test {
 protected:
  io::Path folder = quick_folder() / ("trireme-upgrade-" + std::to_string(::getpid()));
  RealClock clock;

  void SetUp() override { TearDown(); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  void unpack(const std::string& version) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const auto tar = io::Path(TRIREME_SOURCE_DIR) / "tests/golden/ledger" / (version + ".tar.gz");
    ASSERT_EQ(std::system(("tar -xzf '" + tar.string() + "' -C '" + folder.string() + "'").c_str()), 0);
  }
  LedgerOptions options(std::uint64_t incarnation) const {
    return {.folder = folder,
            .incarnation = Incarnation{incarnation},
            .reserve_bytes = 4096,
            .run_folder = folder / "run"};
  }
  std::string version() const { return version_of(folder / "state.db"); }
  static std::string version_of(const io::Path& file) {
    Database database(file);
    set_up(database);
    return database.text_of("SELECT value FROM meta WHERE name = 'schema_version'");
  }
};

struct Fixture {
  std::string version;
  std::map<std::string, int> leases;  // by state
  std::size_t stages, checkpoints;
  std::uint64_t events;
  std::string run_id;
};
const Fixture kFirst{"1", {{"done", 34}, {"granted", 1}}, 8, 3, 82, "run-f87f273199dc455d"};
const Fixture kSecond{"2", {{"done", 18}, {"granted", 1}}, 7, 2, 48, "run-04355cdb044a2365"};

void expect_whole(Ledger& ledger, const Fixture& fixture, std::uint64_t openings) {
  const auto jobs = ledger.jobs();
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs[0].job, "job-000001");
  EXPECT_EQ(jobs[0].state, JobState::kRunning);
  std::map<std::string, int> states;
  std::map<std::int64_t, int> by_stage;
  std::uint64_t last = 0;
  ledger.for_each_lease("job-000001", [&](const LeaseRow& row) {
    ++states[std::string(name_of(row.state))];
    ++by_stage[row.stage];
    EXPECT_GT(row.lease.value, last);
    last = row.lease.value;
  });
  EXPECT_EQ(states, fixture.leases);
  for (const auto& [stage, count] : by_stage) {
    int of_stage = 0;
    last = 0;
    ledger.for_each_lease("job-000001", stage, [&](const LeaseRow& row) {
      ++of_stage;
      EXPECT_EQ(row.stage, stage);
      EXPECT_GT(row.lease.value, last);
      last = row.lease.value;
    });
    EXPECT_EQ(of_stage, count);
  }
  ledger.for_each_lease("job-000002", [](const LeaseRow&) { FAIL(); });
  EXPECT_EQ(ledger.checkpoints().size(), fixture.checkpoints);
  EXPECT_EQ(ledger.stages("job-000001").size(), fixture.stages);
  EXPECT_EQ(ledger.last_sequence(), fixture.events + openings);
  EXPECT_EQ(ledger.events("job-000001", 0, 1000).size(), fixture.events + openings);  // its own, and of none
}

TEST_F(UpgradeTest, AnOlderLedgerGoesOnWithAllItsRows) {
  for (const Fixture& fixture : {kFirst, kSecond}) {
    SCOPED_TRACE("version " + fixture.version);
    unpack("version-" + fixture.version);
    ASSERT_EQ(version(), fixture.version);
    {
      Ledger ledger(options(2), clock);
      expect_whole(ledger, fixture, 1);
      EXPECT_EQ(ledger.events("", fixture.events, 10).at(0).event.payload,
                R"({"run_id":")" + fixture.run_id + R"(","upgraded_from":)" + fixture.version + "}");
      grant(ledger, 1000);
    }
    EXPECT_EQ(version(), std::to_string(kSchemaVersion));
    const auto backups = backups_of(folder / "run");
    ASSERT_EQ(backups.size(), 1U);
    EXPECT_EQ(look_at_ledger(backups[0], {}, folder / "look").sequence, fixture.events);
    EXPECT_EQ(version_of(backups[0]), fixture.version);
    Ledger again(options(3), clock);  // its whole check holds
    EXPECT_EQ(again.events("", fixture.events + 2, 10).at(0).event.payload,
              R"({"run_id":")" + fixture.run_id + R"("})");
  }
}

TEST_F(UpgradeTest, LookedAtOnlyItStaysAsItWas) {
  unpack("version-1");
  const std::string before = io::read_file(folder / "state.db");
  const LedgerState state = look_at_ledger(folder / "state.db", folder / "mark", folder / "look");
  EXPECT_EQ(state.fault, "");
  EXPECT_EQ(state.sequence, 82U);
  EXPECT_EQ(io::read_file(folder / "state.db"), before);
}

// The next start finds the first version again, whole.
TEST_F(UpgradeTest, KilledInTheMiddleItHasChangedNothing) {
  for (const char* point : {"ledger.mid_upgrade", "ledger.before_commit"}) {
    unpack("version-1");
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("TRIREME_FAULT", (std::string(point) + ":1:kill9").c_str(), 1);
      ::setenv("TRIREME_FAULT_INCARNATION", "any", 1);
      arm_fault_points(0, 1);
      Ledger ledger(options(2), clock);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << point;
    EXPECT_EQ(version(), "1") << point;
    Ledger ledger(options(2), clock);
    expect_whole(ledger, kFirst, 1);
  }
}

TEST_F(UpgradeTest, AVersionThatItsTablesBelieIsDamage) {
  unpack("version-1");
  {
    Database database(folder / "state.db");
    set_up(database);
    database.run("CREATE INDEX leases_of_stage ON leases (job, stage)");
  }
  try {
    Ledger ledger(options(2), clock);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
    EXPECT_NE(std::string(error.what()).find("not those of schema version 1"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::coordinator::ledger
