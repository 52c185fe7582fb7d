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

// Python's tarfile.extractfile() gives the same bytes for the same names.
TEST(TarScan, HardLinksAreReadAsWhatTheyPointTo) {
  const std::string bytes = TarWriter()
                                .add("a", "1")
                                .link("b", "a")
                                .add("a", "2")
                                .link("c", "a")
                                .link("d", "b")
                                .link("e", "later")
                                .add("later", "3")
                                .link("f", "a", '2')
                                .bytes();
  EXPECT_EQ(members(io::MemorySource(bytes, "memory")),
            (std::vector<std::string>{"a=1", "b=1", "a=2", "c=2", "d=1", "later=3"}));
  const RangedSource source(bytes);
  TarWalk walk(source);
  while (walk.next()) continue;
  EXPECT_EQ(walk.found().bad,
            (std::map<std::string, std::int64_t>{{"broken_link", 1}, {"symbolic_link", 1}}));
}

// tar 1.34 --sparse in its old format: the map goes on in blocks behind the header; kinds that nobody knows
// have data, dumped folders and volume labels are no files.
TEST(TarScan, WhatFollowsAFileWithHolesIsFound) {
  std::string sparse = TarWriter::header("s", 512, 'S');
  sparse[482] = 1;
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i)
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(sparse[i]);
  char octal[16];
  std::snprintf(octal, sizeof octal, "%06o", sum);
  sparse.replace(148, 6, octal);
  std::string more(1024, 'm');
  more[504] = 1;
  more[512 + 504] = '\0';
  const std::string inner = TarWriter().add("inner", "x").bytes(false).substr(0, 512);  // data like a header
  const std::string rest = TarWriter()
                               .entry("listing/", inner, 'D')
                               .entry("label", "", 'V')
                               .entry("other", inner, 'Z')
                               .add("a", "1")
                               .bytes();
  const std::string bytes = sparse + more + inner + rest;
  const io::MemorySource tar(bytes, "memory");
  EXPECT_EQ(members(tar), std::vector<std::string>{"a=1"});
  const TarScan found = scan_tar(tar, [](const TarMember&) {});
  EXPECT_EQ(found.bad, (std::map<std::string, std::int64_t>{{"not_regular", 1}, {"sparse", 1}}));
}

TEST(TarScan, ASecondArchiveBehindTheFirstIsFound) {
  const std::string first = TarWriter().add("a", "1").bytes(), padding(10240 - first.size() % 10240, '\0');
  const auto second_at = [](const std::string& bytes) {
    return scan_tar(bytes, [](const TarMember&) {}).second_at;
  };
  EXPECT_EQ(second_at(first + padding + first), first.size() + padding.size());
  EXPECT_EQ(second_at(first + padding), 0U);
  EXPECT_EQ(second_at(first + std::string(600, 'x')), 0U) << "no archive";
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
