// F29, F33, F34: whatever happens to the files, a ledger opens with exactly what it held, or refuses.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/random.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/ledger/sql.h"
#include "coordinator/ledger/tables.h"
#include "tests/coordinator/ledger/sample_ledger.h"

namespace trireme::coordinator::ledger {
namespace {

class DamageTest : public testing::Test {
 protected:
  io::Path base = quick_folder() / ("trireme-damage-" + std::to_string(::getpid()));
  io::Path whole = base / "whole", tried = base / "tried";
  RealClock clock;
  std::string reference;

  void SetUp() override { std::filesystem::remove_all(base); }
  void TearDown() override { std::filesystem::remove_all(base); }

  LedgerOptions options(const io::Path& folder, std::uint64_t incarnation) {
    return {.folder = folder, .incarnation = Incarnation{incarnation}, .reserve_bytes = 4096};
  }

  // A ledger as a killed coordinator leaves it, with or without its log merged into state.db.
  void make(bool merged, int leases = 20) {
    Ledger ledger(options(whole, 1), clock);
    fill(ledger, leases);
    if (merged) ledger.merge_wal();
    reference = dump(ledger);
  }

  // The content of a damaged copy; nothing when it refused, with the message in `refusal`.
  std::string refusal;
  std::optional<std::string> content() {
    try {
      Ledger ledger(options(tried, 2), clock);
      return dump(ledger);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << error.what();
      refusal = error.what();
      return std::nullopt;
    }
  }

  void copy() {
    std::filesystem::remove_all(tried);
    std::filesystem::copy(whole, tried, std::filesystem::copy_options::recursive);
    std::filesystem::remove(tried / "reserve");
  }
  void put(const char* name, const std::string& bytes) { io::write_file_atomic(tried / name, bytes, false); }
  std::string get(const char* name) { return io::read_file(whole / name); }

  void flip_bits(const char* name, int tries, std::uint64_t seed) {
    const std::string sound = get(name);
    RandomStream random(seed, RandomPurpose::kTest);
    int refused = 0;
    for (int i = 0; i < tries; ++i) {
      copy();
      std::string bytes = sound;
      const auto bit = tries == 256 ? static_cast<std::uint64_t>(i) : random.below(bytes.size() * 8);
      if (bit / 8 >= bytes.size()) break;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      put(name, bytes);
      const auto found = content();
      refused += !found;
      if (found) {
        EXPECT_EQ(*found, reference) << name << ", bit " << bit;
      }
    }
    RecordProperty(std::string("refused_") + name, refused);
  }
};

TEST_F(DamageTest, BitFlipsInTheLogAreNeverSilent) {
  make(false);
  flip_bits("state.db-wal", 300, 1);
}

TEST_F(DamageTest, BitFlipsInTheMainFileAreNeverSilent) {
  make(true);
  std::filesystem::remove(whole / "state.db-wal");  // everything lies in state.db now
  flip_bits("state.db", 400, 2);
}

TEST_F(DamageTest, EveryBitOfTheMark) {
  make(false);
  flip_bits("mark", 256, 3);
}

// The last transaction, not acknowledged (the mark says so): lost as a whole, all before it intact.
// Acknowledged: refused, naming both sequences.
TEST_F(DamageTest, LogCutAtEachByteOfTheLastTransaction) {
  std::string mark_before, acknowledged_mark, before;
  std::uintmax_t start = 0;
  {
    Ledger ledger(options(whole, 1), clock);
    fill(ledger, 6);
    before = dump(ledger);
    start = std::filesystem::file_size(whole / "state.db-wal");
    mark_before = get("mark");
    grant(ledger, 7);
    reference = dump(ledger);
    acknowledged_mark = get("mark");
  }
  const std::string wal = get("state.db-wal");
  ASSERT_GT(wal.size(), start);
  int step = 0;
  for (std::size_t cut = start; cut < wal.size(); cut += (cut % 4096 < 64 ? 1 : 97), ++step) {
    copy();
    put("state.db-wal", wal.substr(0, cut));
    put("mark", mark_before);
    const auto found = content();
    ASSERT_TRUE(found) << "cut at " << cut << ": " << refusal;
    EXPECT_EQ(*found, before) << "cut at " << cut;
    if (step % 8 != 0) continue;
    copy();
    put("state.db-wal", wal.substr(0, cut));
    EXPECT_FALSE(content()) << "cut at " << cut;
    EXPECT_NE(refusal.find("acknowledged"), std::string::npos) << refusal;
  }
}

TEST_F(DamageTest, FilesThatAreMissingEmptyForeignOrNotADatabase) {
  make(false);
  const auto refused = [&](const std::string& what) {
    EXPECT_FALSE(content()) << what;
    EXPECT_NE(refusal.find("ledger"), std::string::npos) << refusal;
  };
  copy();
  std::filesystem::remove(tried / "state.db-wal");
  refused("log deleted");
  copy();
  std::filesystem::remove(tried / "state.db");
  std::filesystem::remove(tried / "state.db-wal");
  refused("both files deleted");
  copy();
  std::filesystem::remove(tried / "mark");
  refused("mark deleted");
  const io::Path other = base / "other";
  {
    Ledger ledger(options(other, 1), clock);
    fill(ledger, 30);
  }
  copy();
  put("state.db-wal", io::read_file(other / "state.db-wal"));
  refused("another ledger's log");
  copy();
  put("mark", io::read_file(other / "mark"));
  refused("another ledger's mark");
}

TEST_F(DamageTest, ALedgerOfAnotherVersionIsNamedAndLeftAlone) {
  const std::string newer = std::to_string(kSchemaVersion + 1);
  make(true);
  std::filesystem::remove(whole / "state.db-wal");
  copy();
  {
    Database later(tried / "state.db");
    later.run("PRAGMA locking_mode = EXCLUSIVE");
    const std::string sql = "ALTER TABLE jobs ADD COLUMN priority; UPDATE meta SET value = '" + newer +
                            "' WHERE name = 'schema_version'";
    later.run(sql.c_str());
  }
  const std::string before = get("state.db");
  try {
    Ledger ledger(options(tried, 2), clock);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("has schema version " + newer), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(get("state.db"), before);
}

TEST_F(DamageTest, MainFileTruncatedOrEmpty) {
  make(true, 100);
  std::filesystem::remove(whole / "state.db-wal");
  const std::string bytes = get("state.db");
  for (std::size_t size = 0; size < bytes.size(); size += 4096 + 333) {
    copy();
    put("state.db", bytes.substr(0, size));
    EXPECT_FALSE(content()) << size;
  }
  copy();
  put("state.db", std::string(8192, 'x'));
  EXPECT_FALSE(content()) << "not a database";
}

// F28, F29 in a child process, because fault points are armed for good.
int run_with_fault(const std::string& fault, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("TRIREME_FAULT", fault.c_str(), 1);
    ::setenv("TRIREME_FAULT_INCARNATION", "any", 1);
    arm_fault_points(0, 1);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(DamageTest, AFullDiskRollsBackAndCanBeTriedAgain) {
  for (const std::string fault : {"ledger.write:60:enospc", "ledger.before_commit:9:enospc"}) {
    std::filesystem::remove_all(whole);
    const int code = run_with_fault(fault, [&] {
      Ledger ledger(options(whole, 1), clock);
      int full = 0;
      for (int i = 1; i <= 30; ++i) {
        try {
          grant(ledger, i);
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::kDiskFull) return 9;
          ++full;
          grant(ledger, i);
        }
      }
      return full;
    });
    EXPECT_EQ(code, 1) << fault;
    Ledger ledger(options(whole, 2), clock);
    EXPECT_EQ(ledger.last_lease().value, 30U) << fault;
  }
}

TEST_F(DamageTest, AnInputOutputErrorEndsTheLedgerForThisProcess) {
  for (const std::string fault : {"ledger.write:60:error", "ledger.sync:12:error"}) {
    std::filesystem::remove_all(whole);
    const int acknowledged = run_with_fault(fault, [&] {
      Ledger ledger(options(whole, 1), clock);
      for (int i = 1; i <= 100; ++i) {
        try {
          grant(ledger, i);
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::kTryAgain) return 200;
          try {
            grant(ledger, i);
          } catch (const Error&) {
            return i - 1;
          }
          return 201;
        }
      }
      return 202;
    });
    ASSERT_LT(acknowledged, 200) << fault;
    Ledger ledger(options(whole, 2), clock);
    EXPECT_GE(ledger.last_lease().value, static_cast<std::uint64_t>(acknowledged)) << fault;
    EXPECT_LE(ledger.last_lease().value, static_cast<std::uint64_t>(acknowledged) + 1) << fault;
  }
}

}  // namespace
}  // namespace trireme::coordinator::ledger
