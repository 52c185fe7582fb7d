#include "jobs/store/tar_scan.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/ranged_source.h"
#include "tests/support/tar_writer.h"

namespace trireme::store {
namespace {

using testing::RangedSource;
using testing::TarWriter;

std::vector<std::string> members(const io::ByteSource& tar) {
  std::vector<std::string> found;
  scan_tar(tar, [&](const TarMember& member) {
    std::string storage;
    found.push_back(member.name + "=" + std::string(tar.view(member.offset, member.size, storage)));
  });
  return found;
}

TEST(TarScan, MemoryAndRangesGiveTheSameMembers) {
  const std::string long_name(150, 'n');
  const std::string bytes =
      TarWriter().add("a", "1").add(long_name, "2").add_pax("\xc3\xa9", "3").add("folder/", "", '5').bytes();
  const std::vector<std::string> expected{"a=1", long_name + "=2", "\xc3\xa9=3"};
  EXPECT_EQ(members(io::MemorySource(bytes, "memory")), expected);
  EXPECT_EQ(members(RangedSource(bytes)), expected);
}

TEST(TarScan, AWalkStopsWhereItsCallerDoes) {
  TarWriter tar;
  for (int i = 0; i < 100; ++i) tar.add(std::to_string(i), std::string(5000, 'x'));
  const RangedSource source(tar.bytes());
  TarWalk walk(source);
  EXPECT_EQ(walk.next()->name, "0");
  EXPECT_EQ(walk.next()->name, "1");
  EXPECT_EQ(source.bytes_read, 2 * 512U);  // headers alone
}

TEST(TarScan, AMemberThatIsCutShortEndsTheWalk) {
  const std::string bytes = TarWriter().add("a", "1").add("b", std::string(900, 'x')).bytes();
  const RangedSource source(bytes.substr(0, 1024 + 512 + 100));
  TarWalk walk(source);
  EXPECT_EQ(walk.next()->name, "a");
  EXPECT_FALSE(walk.next());
  EXPECT_TRUE(walk.found().cut_short);
  EXPECT_EQ(walk.found().bad.at("truncated"), 1);
}

TEST(TarScan, AHeaderChainWithoutEndIsNotRead) {
  const std::string huge(2 << 20, 'n');
  const RangedSource source(TarWriter().entry("././@LongLink", huge, 'L').add("a", "1").bytes());
  TarWalk walk(source);
  EXPECT_FALSE(walk.next());
  EXPECT_EQ(walk.found().bad.at("bad_name"), 1);
  EXPECT_LT(source.bytes_read, 4096U);
}

}  // namespace
}  // namespace trireme::store
