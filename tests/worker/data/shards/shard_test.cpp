// Index and reader over tars and tables that the test writes itself.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/io/hash.h"
#include "jobs/layouts/folder_listing.h"
#include "tests/support/ranged_source.h"
#include "tests/support/tar_writer.h"
#include "worker/data/shards/quarantine.h"
#include "worker/data/shards/shard_index.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::data {
namespace {

using testing::TarWriter;
using Strings = std::vector<std::string>;

class ShardTest : public ::testing::Test {
 protected:
  io::Path folder = std::filesystem::temp_directory_path() / ("trireme-shard-" + std::to_string(::getpid()));
  io::Path shard = folder / "0.tar", index = folder / "0.idx";
  jobs::SourceSpec source;
  void SetUp() override { io::make_folders(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  ShardScan scan(const std::string& bytes, jobs::DataFormat format = jobs::DataFormat::kWebdataset) {
    io::write_file_atomic(shard, bytes, false);
    return build_shard_index(shard, format, source, index);
  }
  std::string image(const ShardReader& reader, std::int64_t sample) {
    std::string storage;
    return std::string(reader.image_bytes(sample, storage));
  }
  using Bad = std::map<std::string, std::int64_t>;
};

TEST_F(ShardTest, ReadsImg2datasetTars) {
  const std::string bytes = TarWriter()
                                .add("00000/000000001.jpg", "JPEG-1")
                                .add("00000/000000001.json", "{\"a\":1}")
                                .add("00000/000000001.txt", " two\nlines \n")
                                .add("00000/000000000.WEBP", "WEBP-0")
                                .add("00000/000000000.txt", "one")
                                .bytes();
  const ShardScan found = scan(bytes);
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(found.captions, 2);
  EXPECT_FALSE(found.labels);
  EXPECT_EQ(found.bad, Bad{});
  EXPECT_EQ(found.sha256, io::sha256_hex(bytes));
  const ShardReader reader(shard, index);
  ASSERT_EQ(reader.size(), 2);
  EXPECT_EQ(reader.key(0), "00000/000000001");
  EXPECT_EQ(image(reader, 0), "JPEG-1");
  EXPECT_EQ(reader.captions(0), Strings{"two\nlines"});
  EXPECT_EQ(reader.json(0), "{\"a\":1}");
  EXPECT_EQ(image(reader, 1), "WEBP-0");
  EXPECT_EQ(reader.json(1), "");
  EXPECT_FALSE(reader.label(0));
  EXPECT_THROW(reader.key(2), Error);
}

// What has killed workers is bad from the scan on, and the index tells that it is another one.
TEST_F(ShardTest, QuarantinedSamplesAreBad) {
  TarWriter tar;
  for (const char* key : {"a", "b", "c"})
    tar.add(std::string(key) + ".jpg", key).add(std::string(key) + ".txt", "a caption");
  const ShardScan whole = scan(tar.bytes());
  const auto without = [&](const std::vector<std::string>& keys) {
    return build_shard_index_without(keys, shard, jobs::DataFormat::kWebdataset, source, index);
  };
  const ShardScan found = without({"b", "nobody"});
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(found.bad, (Bad{{"quarantined", 1}}));
  EXPECT_EQ(found.examples, Strings{"b: quarantined"});
  EXPECT_EQ(found.sha256, whole.sha256);
  EXPECT_NE(found.reading, whole.reading);
  EXPECT_NE(found.reading, without({"a"}).reading);
  EXPECT_EQ(ShardReader(shard, index).key(0), "b");
  EXPECT_EQ(without({""}).samples, 0);
  EXPECT_EQ(ShardReader(shard, index).size(), 0);
}

// Pillow's Image.registered_extensions() and what browsers and cameras write of JPEG, PNG and HEIF.
TEST_F(ShardTest, WhatIsNoTarSaysWhatItIs) {
  using namespace std::string_literals;
  const std::pair<std::string, std::string> known[] = {
      {"\x1F\x8B\b\0"s, "gunzip"},
      {"\x28\xB5\x2F\xFD"s, "zstd -d"},
      {"PK\x03\x04"s, "unzip"},
      {"version https://git-lfs.github.com/spec/v1\n"s, "git lfs pull"},
      {"<!DOCTYPE html>"s, "web page"}};
  for (const auto& [head, word] : known) {
    try {
      scan(head + std::string(1024, 'x'));
      ADD_FAILURE() << word;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

TEST_F(ShardTest, SuffixesThatPeopleHaveArePictures) {
  const Strings suffixes{"jpg", "jpeg", "jpe",  "jfif", "jif", "jfi",  "pjpeg", "pjp", "JPE",
                         "png", "apng", "webp", "tif",  "bmp", "heic", "hif",   "HIF", "gif"};
  TarWriter tar;
  for (std::size_t i = 0; i < suffixes.size(); ++i) {
    const std::string key = "k" + std::to_string(i);
    tar.add(key + "." + suffixes[i], "J").add(key + ".txt", "a dog");
    EXPECT_TRUE(jobs::is_picture_name(key + "." + suffixes[i]));
  }
  const ShardScan found = scan(tar.add("x.ppm", "P").add("x.txt", "a dog").bytes());
  EXPECT_EQ(found.samples, static_cast<std::int64_t>(suffixes.size()));
  EXPECT_EQ(found.bad, (Bad{{"unsupported_image", 1}}));
}

TEST_F(ShardTest, ReadsClipBenchmarkTars) {
  const ShardScan found = scan(TarWriter()
                                   .add("s0.jpg", "J0")
                                   .add("s0.png", "P0")
                                   .add("s0.txt", "a dog\n\n a cat \r\nbird")
                                   .add("s1.jpg", "J1")
                                   .add("s1.cls", "7\n")
                                   .add("s2.jpg", "J2")
                                   .add("s2.cls", "dog")
                                   .bytes(),
                               jobs::DataFormat::kClipBenchmark);
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(found.captions, 3);
  EXPECT_TRUE(found.labels);
  EXPECT_EQ(found.bad, (Bad{{"bad_label", 1}}));
  const ShardReader reader(shard, index);
  EXPECT_EQ(image(reader, 0), "P0");  // CLIP_benchmark's order: webp, png, jpg, jpeg
  EXPECT_EQ(reader.captions(0), (Strings{"a dog", "a cat", "bird"}));
  EXPECT_EQ(reader.label(1), 7);
  EXPECT_EQ(captions_of(reader, 0, {}, {"x"}), reader.captions(0));
  const Strings classes(8, "ship");
  EXPECT_EQ(captions_of(reader, 1, classes, {"a {c} is a {c}", "no name"}),
            (Strings{"a ship is a ship", "no name"}));
  EXPECT_THROW(captions_of(reader, 1, Strings(7, "ship"), {"{c}"}), Error) << "label 7 of 7 names";
}

TEST_F(ShardTest, LongNamesPaxAndOddEntries) {
  const std::string deep(300, 'd');
  const ShardScan found = scan(TarWriter()
                                   .add("folder/", "", '5')
                                   .add(deep + "/k.jpg", "J0")
                                   .add_pax(deep + "/k.txt", "zero")
                                   .add("link.jpg", "", '2')
                                   .add("device.jpg", "", '3')
                                   .add("readme", "no suffix")
                                   .add(".hidden.jpg", "x")
                                   .add("b.tar.gz", "other suffix")
                                   .entry("././@LongLink", std::string(5000, 'n'), 'L')
                                   .entry("short", "J", '0')
                                   .add_pax("caf\xC3\xA9.jpg", "J1")
                                   .add_pax("caf\xC3\xA9.txt", "one")
                                   .bytes());
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(found.bad, (Bad{{"not_regular", 1}, {"symbolic_link", 1}, {"bad_name", 1}}));
  const ShardReader reader(shard, index);
  EXPECT_EQ(reader.key(0), deep + "/k");
  EXPECT_EQ(image(reader, 0), "J0");
  EXPECT_EQ(reader.captions(0), Strings{"zero"});
  EXPECT_EQ(reader.key(1), "caf\xC3\xA9");
}

TEST_F(ShardTest, CountsEveryKindOfBadSample) {
  const std::string megabyte = std::string(65535, 'a') + "\xC3\xA9" + std::string(1 << 20, 'b');
  const ShardScan found = scan(TarWriter()
                                   .add("a.txt", "no image")
                                   .add("b.jpg", "J")
                                   .add("c.jpg", "J")
                                   .add("c.txt", " \n ")
                                   .add("d.jpg", "J")
                                   .add("d.txt", "\xFF\xFE")
                                   .add("e.jpg", "J")
                                   .add("e.txt", megabyte)
                                   .add("f.jpg", "J1")
                                   .add("f.txt", "first")
                                   .add("f.jpg", "J2")
                                   .add("f.txt", "second")
                                   .add("g.jpg", "J")
                                   .add("g.txt", "g")
                                   .add("f.jpg", "J3")
                                   .add("f.txt", "third")
                                   .add("stats.json", "{}")
                                   .bytes());
  EXPECT_EQ(found.samples, 3);
  EXPECT_EQ(found.bad, (Bad{{"no_image", 1}, {"no_caption", 2}, {"bad_text", 1}, {"duplicate_key", 2}}));
  EXPECT_EQ(found.noted, (Bad{{"long_caption", 1}}));  // cut, and kept
  EXPECT_EQ(found.examples.size(), ShardScan::kExamples);
  EXPECT_EQ(found.examples.back(), "f: duplicate_key");
  const ShardReader reader(shard, index);
  EXPECT_EQ(reader.captions(0), Strings{std::string(65535, 'a')});  // not through the middle of a character
  EXPECT_EQ(image(reader, 1), "J1");
}

TEST_F(ShardTest, TruncatedTarsKeepTheirGoodMembers) {
  TarWriter tar;
  for (int i = 0; i < 10; ++i) {
    tar.add("k" + std::to_string(i) + ".jpg", std::string(700, 'j'))
        .add("k" + std::to_string(i) + ".txt", "t");
  }
  const std::string whole = tar.bytes();
  const std::size_t sample_bytes = 512 + 1024 + 512 + 512, end = 10 * sample_bytes;
  for (std::size_t cut = 512; cut <= whole.size(); cut += 512) {
    const ShardScan found = scan(whole.substr(0, cut));
    const bool marker = cut > end;
    EXPECT_EQ(found.samples, static_cast<std::int64_t>(std::min(cut, end) / sample_bytes)) << cut;
    EXPECT_EQ(found.bad, marker ? Bad{} : (Bad{{"truncated", 1}})) << cut;
  }
}

TEST_F(ShardTest, AnUnpaddedEndIsFineAndADamagedHeaderCostsItsMember) {
  std::string bytes = TarWriter().add("a.jpg", "J").add("a.txt", "caption").bytes(false);
  bytes.resize(bytes.size() - 512 + 7);
  ShardScan found = scan(bytes);
  EXPECT_EQ(found.samples, 1);
  EXPECT_EQ(found.bad, Bad{});
  bytes = TarWriter().add("a.jpg", "J").add("a.txt", "a").add("b.jpg", "J").add("b.txt", "b").bytes();
  bytes[2 * 1024 + 3] ^= 1;  // the header of b.jpg
  found = scan(bytes);
  EXPECT_EQ(found.samples, 1);
  EXPECT_EQ(found.bad, (Bad{{"bad_header", 1}, {"no_image", 1}}));
}

TEST_F(ShardTest, BytesByRangesGiveTheSameIndexAndSamples) {
  const std::string bytes = TarWriter()
                                .add("a.jpg", "J0")
                                .add_pax("a.txt", "a")
                                .add("a.json", "{\"a\":1}")
                                .add("b.png", std::string(3000, 'P'))
                                .add("b.cls", "3")
                                .bytes();
  scan(bytes);
  const std::string written = io::read_file(index);
  build_shard_index(testing::RangedSource(bytes), shard, jobs::DataFormat::kWebdataset, source, index);
  EXPECT_EQ(io::read_file(index), written);
  auto ranged = std::make_unique<testing::RangedSource>(bytes);
  const testing::RangedSource& counted = *ranged;
  const ShardReader reader(std::move(ranged), shard, index), mapped(shard, index);
  EXPECT_EQ(counted.bytes_read, 0U);
  for (std::int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(image(reader, i), image(mapped, i));
    EXPECT_EQ(reader.captions(i), mapped.captions(i));
    EXPECT_EQ(reader.json(i), mapped.json(i));
    EXPECT_EQ(reader.label(i), mapped.label(i));
  }
  EXPECT_EQ(counted.bytes_read, 2 + 3000 + 1 + 7U);  // what was asked for, no more
}

TEST_F(ShardTest, RefusesWhatIsNoShard) {
  const auto kind_of = [&](const std::string& bytes) {
    try {
      scan(bytes);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("0.tar"), std::string::npos);
      return error.kind();
    }
    return ErrorKind::kInternal;
  };
  EXPECT_EQ(kind_of(""), ErrorKind::kInvalid);
  EXPECT_EQ(kind_of("hello"), ErrorKind::kInvalid);
  EXPECT_EQ(kind_of(std::string(100000, 'x')), ErrorKind::kInvalid);
  EXPECT_THROW(build_shard_index(folder / "absent.tar", jobs::DataFormat::kWebdataset, {}, index), Error);
  EXPECT_EQ(scan(std::string(1024, '\0')).samples, 0);  // an empty archive
}

TEST_F(ShardTest, RandomDamageNeverThrowsPastTheFirstHeader) {
  TarWriter tar;
  for (int i = 0; i < 6; ++i) {
    tar.add("k" + std::to_string(i) + ".jpg", "J").add_pax("k" + std::to_string(i) + ".txt", "t");
  }
  const std::string whole = tar.bytes();
  RandomStream random(7, RandomPurpose::kTest);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 8; ++i)
      bytes[512 + random.below(bytes.size() - 512)] = static_cast<char>(random.below(256));
    const ShardScan found = scan(bytes);
    const ShardReader reader(shard, index);
    for (std::int64_t s = 0; s < reader.size(); ++s) {
      image(reader, s);
      reader.captions(s);
      reader.key(s);
    }
    EXPECT_EQ(reader.size(), found.samples);
  }
}

TEST_F(ShardTest, EveryDamagedByteOfAnIndexIsNoticed) {
  scan(TarWriter().add("a.jpg", "J").add("a.txt", "a").add("b.jpg", "J").add("b.cls", "3").bytes());
  const std::string good = io::read_file(index);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    EXPECT_THROW(decode_index(bytes, index), Error) << at;
    EXPECT_THROW(decode_index(std::string_view(good).substr(0, at), index), Error) << at;
  }
  EXPECT_EQ(encode_index(decode_index(good, index)), good);
  // A well-formed index with ranges that lie outside is refused too.
  ShardIndex bad = decode_index(good, index);
  bad.samples[1].image.size = ~std::uint64_t{0};
  EXPECT_THROW(decode_index(encode_index(bad), index), Error);
  bad = decode_index(good, index);
  bad.samples[0].key.offset = 100;
  EXPECT_THROW(decode_index(encode_index(bad), index), Error);
}

TEST_F(ShardTest, AnotherShardUnderTheSameNameIsRefused) {
  scan(TarWriter().add("a.jpg", "J").add("a.txt", "a").bytes());
  io::write_file_atomic(shard, TarWriter().add("a.jpg", std::string(600, 'J')).add("a.txt", "a").bytes(),
                        false);
  EXPECT_THROW(ShardReader(shard, index), Error);
}

TEST_F(ShardTest, TablesGroupCaptionsByImage) {
  shard = folder / "pairs.csv";
  io::write_file_atomic(folder / "img/a.jpg", "JA", false);
  io::write_file_atomic(folder / "img/b, c.jpg", "JB", false);
  const ShardScan found = scan(
      "title,filepath\r\n"
      "\"first, \"\"quoted\"\"\nline\",img/a.jpg\r\n"
      "b one,\"img/b, c.jpg\"\n"
      "\n"
      "second,img/a.jpg\n"
      "gone,img/none.jpg\n"
      ",img/a.jpg\n"
      "alone\n",
      jobs::DataFormat::kTable);
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(found.captions, 3);
  EXPECT_EQ(found.bad, (Bad{{"bad_row", 1}, {"no_image", 1}}));
  {
    const ShardReader reader(shard, index);
    EXPECT_EQ(reader.captions(0), (Strings{"first, \"quoted\"\nline", "second"}));
    EXPECT_EQ(reader.captions(1), Strings{"b one"});
    EXPECT_EQ(reader.key(1), "img/b, c.jpg");
    EXPECT_EQ(image(reader, 1), "JB");
    std::filesystem::remove(folder / "img/b, c.jpg");
    EXPECT_EQ(image(reader, 1), "");
  }
  try {
    source.image_column = "file_path";
    build_shard_index(shard, jobs::DataFormat::kTable, source, index);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("filepath"), std::string::npos);
  }
}

TEST_F(ShardTest, AQuoteThatIsNeverClosedIsNamedByItsLine) {
  try {
    scan("filepath,title\na.jpg,\"fine\"\na.jpg,\"open\na.jpg,lost\n", jobs::DataFormat::kTable);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("line 3"), std::string::npos) << error.what();
  }
}

// ---- what becomes of every member ---------------------------------------------------------------------

TEST_F(ShardTest, NamesWithDotsAreSamplesOfTheirOwn) {
  TarWriter tar;
  for (const char* name : {"a", "album/Lake 2.20 (edit)", "album/Lake 2.23 (edit)", "Lake 0.21"})
    tar.add(std::string(name) + ".jpg", "J").add(std::string(name) + ".txt", name);
  tar.add("a.seg.png", "S");
  const ShardScan found = scan(tar.bytes());
  EXPECT_EQ(found.samples, 4);
  EXPECT_EQ(found.bad, Bad{});
  EXPECT_EQ(found.seen.at("last_dot"), 3);
  EXPECT_EQ(found.seen.at("members"), 9);
  EXPECT_EQ(found.seen.at("members.kept"), 9) << "a.seg.png is a further part of a";
  EXPECT_NE(found.reading, "") << "version 1 read one sample";
  EXPECT_EQ(ShardReader(shard, index).key(1), "album/Lake 2.20 (edit)");
  source.key = jobs::SampleKey::kFirstDot;
  const ShardScan first = scan(tar.bytes());
  EXPECT_EQ(first.samples, 1);
  EXPECT_EQ(first.bad, (Bad{{"unusual_suffix", 3}})) << "each picture counts, also two of one key";
  EXPECT_NE(first.advice.find("last_dot"), std::string::npos) << first.advice;
}

TEST_F(ShardTest, PlainTarsReadAsTheFirstVersionReadThem) {
  const std::string plain =
      TarWriter().add("a.jpg", "J").add("a.seg.png", "S").add("a.txt", "one").add("readme.md", "x").bytes();
  const ShardScan found = scan(plain);
  EXPECT_EQ(found.reading, "");
  EXPECT_EQ(
      found.seen,
      (Bad{{"members", 4}, {"members.bad", 0}, {"members.kept", 3}, {"members.other", 1}, {"texts", 1}}));
}

// A picture of a kind that version 1 did not read is a sample that it did not have.
TEST_F(ShardTest, PicturesThatAreReadSinceThenMakeAnotherReading) {
  const ShardScan found =
      scan(TarWriter().add("a.jpg", "J").add("a.txt", "one").add("b.gif", "G").add("b.txt", "two").bytes());
  EXPECT_EQ(found.reading.empty(), found.samples == 1);
}

TEST_F(ShardTest, MembersThatAreNotAdjacentAreJoined) {
  TarWriter tar;
  for (int i = 0; i < 3; ++i) tar.add(std::to_string(i) + ".jpg", "J" + std::to_string(i));
  for (int i = 2; i >= 0; --i) tar.add(std::to_string(i) + ".txt", "text " + std::to_string(i));
  const ShardScan found = scan(tar.bytes());
  EXPECT_EQ(found.samples, 3);
  EXPECT_EQ(found.seen.at("joined"), 2) << "2.jpg and 2.txt are neighbours";
  EXPECT_NE(found.reading, "");
  const ShardReader reader(shard, index);
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(image(reader, i), "J" + std::to_string(i));
    EXPECT_EQ(reader.captions(i), Strings{"text " + std::to_string(i)});
  }
}

TEST_F(ShardTest, HiddenMembersAreCountedAndNoData) {
  const ShardScan found = scan(TarWriter()
                                   .add("./._a.jpg", "apple")
                                   .add("./a.jpg", "J")
                                   .add("./a.txt", "one")
                                   .add("__MACOSX/b.jpg", "x")
                                   .add("__MACOSX/b.txt", "x")
                                   .add("c.jpg~", "x")
                                   .bytes());
  EXPECT_EQ(found.samples, 1);
  EXPECT_EQ(found.bad, Bad{});
  EXPECT_EQ(found.seen.at("members.hidden"), 4);
  EXPECT_NE(found.reading, "") << "version 1 took __MACOSX/b for a sample";
}

TEST_F(ShardTest, HardLinksAreSamplesAndOtherLinksAreNamed) {
  const ShardScan found = scan(TarWriter()
                                   .add("a.jpg", "J")
                                   .add("a.txt", "one")
                                   .link("b.jpg", "a.jpg")
                                   .add("b.txt", "two")
                                   .link("c.jpg", "/far/away.jpg", '2')
                                   .bytes());
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(found.bad, (Bad{{"symbolic_link", 1}}));
  EXPECT_EQ(found.seen.at("linked"), 1);
  EXPECT_NE(found.reading, "") << "version 1 lost b";
  EXPECT_NE(found.advice.find("tar -h"), std::string::npos) << found.advice;
  EXPECT_EQ(image(ShardReader(shard, index), 1), "J");
}

TEST_F(ShardTest, AJsonThatNobodyCanReadIsCounted) {
  const ShardScan found = scan(TarWriter()
                                   .add("a.jpg", "J")
                                   .add("a.txt", "one")
                                   .add("a.json", "<html>")
                                   .add("b.jpg", "J")
                                   .add("b.txt", "two")
                                   .add("b.json", "{\"score\": NaN}")
                                   .add("c.jpg", "J")
                                   .add("c.txt", "three")
                                   .add("c.json", "[1]")
                                   .bytes());
  EXPECT_EQ(found.samples, 3);
  EXPECT_EQ(found.seen.at("json.unreadable"), 2);
  EXPECT_NE(found.advice.find("nothing is read from 2 .json (first: a.json: it is no JSON ("),
            std::string::npos)
      << found.advice;
}

TEST_F(ShardTest, TextsInUtf16WithoutItsMarkAreNoCaptions) {
  const ShardScan found = scan(TarWriter()
                                   .add("a.jpg", "J")
                                   .add("a.txt", std::string("a\0 \0d\0o\0g\0", 10))
                                   .add("b.jpg", "J")
                                   .add("b.txt", std::string("a\0 nul, and words around it", 27))
                                   .bytes());
  EXPECT_EQ(found.samples, 1);
  EXPECT_EQ(found.bad, (Bad{{"bad_text", 1}}));
}

TEST_F(ShardTest, PartsUnderUnusualSuffixesAreNamed) {
  TarWriter tar;
  for (const char* name : {"s0", "s1"})
    tar.add(std::string(name) + ".input.jpg", "J").add(std::string(name) + ".output.txt", "a text");
  ShardScan found = scan(tar.bytes());
  EXPECT_EQ(found.samples, 0);
  EXPECT_EQ(found.bad, (Bad{{"unusual_suffix", 2}}));
  for (const char* word : {".input.jpg (2)", ".output.txt (2)", "image_member", "text_member"})
    EXPECT_NE(found.advice.find(word), std::string::npos) << found.advice;
  source.image_member = "input.jpg";
  source.text_member = "output.txt";
  found = scan(tar.bytes());
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(ShardReader(shard, index).captions(1), Strings{"a text"});
}

TEST_F(ShardTest, CaptionsOfTheJson) {
  const std::string tar = TarWriter()
                              .add("a.json", R"({"uuid": "a", "caption": " a red bus ", "url": "http://x"})")
                              .add("a.jpeg", "J")
                              .add("b.json", R"({"caption": ["one dog", "two dogs"]})")
                              .add("b.jpeg", "J")
                              .add("c.json", R"({"other": 1})")
                              .add("c.jpeg", "J")
                              .bytes();
  EXPECT_NE(scan(tar).advice.find("the .json has text in: caption (set caption_field"), std::string::npos);
  source.caption_field = "caption";
  const ShardScan found = scan(tar);
  EXPECT_EQ(found.samples, 2);
  EXPECT_EQ(found.captions, 3);
  EXPECT_EQ(found.bad, (Bad{{"no_caption", 1}}));
  const ShardReader reader(shard, index);
  EXPECT_EQ(reader.captions(0), Strings{"a red bus"});
  EXPECT_EQ(reader.captions(1), (Strings{"one dog", "two dogs"}));
  EXPECT_EQ(reader.json(1), R"({"caption": ["one dog", "two dogs"]})");
  EXPECT_EQ(reader.raw_text(0), "");
  EXPECT_EQ(image(reader, 0), "J");
}

TEST_F(ShardTest, PhotographsAlone) {
  const std::string tar = TarWriter().add("a.jpg", "J0").add("b.png", "J1").bytes();
  EXPECT_NE(scan(tar).advice.find("captions \"none\""), std::string::npos);
  source.captions = jobs::CaptionForm::kNone;
  const ShardScan found = scan(tar);
  EXPECT_EQ(found.samples, 2);
  EXPECT_TRUE(ShardReader(shard, index).captions(1).empty());
}

TEST_F(ShardTest, NothingUsableSaysWhatIsThere) {
  const ShardScan found = scan(TarWriter().add("a.npy", "x").add("b.npy", "x").add("._c", "x").bytes());
  EXPECT_NE(found.advice.find("none of its 3 members is a picture"), std::string::npos) << found.advice;
  EXPECT_NE(found.advice.find(".npy (2)"), std::string::npos) << found.advice;
  EXPECT_EQ(scan(TarWriter().add("a.gif", "x").bytes()).bad.size(), 1U)
      << "a picture is never lost without a count";
}

// 7 rows by Python's csv module; two of them have not the header's 2 fields.
TEST_F(ShardTest, RowsOfATableAddUp) {
  shard = folder / "pairs.csv";
  io::write_file_atomic(folder / "a.jpg", "J", false);
  const ShardScan found = scan(
      "filepath;title\na.jpg;one\na.jpg;two;three\n._a.jpg;x\nnone.jpg;y\na.jpg\n;empty\na.jpg;\"a; b\"\n",
      jobs::DataFormat::kTable);
  EXPECT_EQ(found.samples, 1);
  EXPECT_EQ(found.captions, 2);
  EXPECT_EQ(found.bad, (Bad{{"bad_row", 3}, {"no_image", 1}}));
  EXPECT_EQ(found.seen, (Bad{{"rows", 7}, {"rows.bad", 4}, {"rows.hidden", 1}, {"rows.kept", 2}}));
  EXPECT_EQ(found.examples.front(), "line 3: bad_row (it has 3 fields, the header 2)");
  EXPECT_NE(found.reading, "");
}

// What a name tells of why its file is not there.
TEST_F(ShardTest, APictureThatATableDoesNotFindSaysWhy) {
  shard = folder / "pairs.csv";
  const auto advice = [&](const std::string& name) {
    return scan("filepath,title\n" + name + ",x\n", jobs::DataFormat::kTable).advice;
  };
  for (const auto& [name, word] :
       std::vector<std::pair<std::string, std::string>>{{"https://x.org/a.jpg", "img2dataset downloads"},
                                                        {"file:///data/a.jpg", "plainly"},
                                                        {"img\\a.jpg", "parted by /"},
                                                        {"'a.jpg'", "blanks or quotes"},
                                                        {"a.jpg ", "blanks or quotes"},
                                                        {"~/a.jpg", "home folder"},
                                                        {"a.jpg", folder.string()}})
    EXPECT_NE(advice(name).find(word), std::string::npos) << name << ": " << advice(name);
}

// The next quote closes it: of 4 rows Python's csv makes 2, each with another's caption.
TEST_F(ShardTest, AQuoteThatTakesOtherRowsIsNoCaption) {
  shard = folder / "pairs.tsv";
  for (const char* name : {"a.jpg", "b.jpg"}) io::write_file_atomic(folder / name, "J", false);
  ShardScan found = scan(
      "filepath\ttitle\na.jpg\t\"Dog one\nb.jpg\t\"Dog two\na.jpg\t\"three\nb.jpg\tfour\nb.jpg\t\"five\"\n",
      jobs::DataFormat::kTable);
  EXPECT_EQ(found.samples, 0);
  EXPECT_EQ(found.bad, (Bad{{"bad_row", 2}}));
  EXPECT_NE(found.advice.find("line 2: a quote that opens in it is closed lines later"), std::string::npos)
      << found.advice;
  found = scan("filepath\ttitle\na.jpg\t\"two\nlines, \"\"b.jpg\"\"\"\nb.jpg\t5\" pipe\n",
               jobs::DataFormat::kTable);
  EXPECT_EQ(found.samples, 2);
}

TEST_F(ShardTest, ListsWrittenAsTextAreNoCaptions) {
  shard = folder / "pairs.csv";
  io::write_file_atomic(folder / "a.jpg", "J", false);
  EXPECT_THROW(scan("filepath,title\na.jpg,\"['a dog', 'two dogs']\"\n", jobs::DataFormat::kTable), Error);
  EXPECT_EQ(scan("filepath,title\na.jpg,[sic] a dog\n", jobs::DataFormat::kTable).captions, 1);
}

TEST_F(ShardTest, JsonLines) {
  shard = folder / "metadata.jsonl";
  io::write_file_atomic(folder / "img/a.jpg", "J", false);
  const ShardScan found = scan(
      "{\"file_name\": \"img/a.jpg\", \"text\": \"a dog\", \"score\": 0.25}\r\n\nnonsense\n"
      "{\"file_name\": \"img/none.jpg\", \"text\": \"x\"}\n",
      jobs::DataFormat::kTable);
  EXPECT_EQ(found.samples, 1);
  EXPECT_EQ(found.bad, (Bad{{"bad_row", 1}, {"no_image", 1}}));
  const ShardReader reader(shard, index);
  EXPECT_EQ(reader.captions(0), Strings{"a dog"});
  EXPECT_EQ(reader.json(0), "{\"file_name\": \"img/a.jpg\", \"text\": \"a dog\", \"score\": 0.25}");
  EXPECT_EQ(image(reader, 0), "J");
}

// A hash as an integer, half of an emoji: Python reads both lines. What is no picture's row says why.
TEST_F(ShardTest, JsonLinesOfOtherProgramsAreReadOrSayWhatIsWrong) {
  shard = folder / "metadata.jsonl";
  io::write_file_atomic(folder / "a.jpg", "J", false);
  const std::string good =
      "{\"file_name\": \"a.jpg\", \"text\": \"a dog\", \"sha\": 123456789012345678901234}\n"
      "{\"file_name\": \"a.jpg\", \"text\": \"cut \\ud83d\"}\n";
  const auto said = [&](const std::string& line) {
    const ShardScan found = scan(good + line + "\n", jobs::DataFormat::kTable);
    EXPECT_EQ(found.captions, 2);
    EXPECT_EQ(found.bad, (Bad{{"bad_row", 1}}));
    return found.examples.empty() ? "" : found.examples.front();
  };
  EXPECT_EQ(said("[1]"), "line 3: bad_row (it is an array, no object)");
  EXPECT_EQ(said("{\"file_name\": \"a.jpg\"").find("line 3: bad_row (it is no JSON ("), 0U);
  EXPECT_EQ(said("{\"text\": \"x\"}"), "line 3: bad_row (it has no text at \"file_name\")");
  EXPECT_EQ(said("{\"file_name\": [\"a.jpg\", \"b.jpg\"]}"),
            "line 3: bad_row (it names 2 pictures at \"file_name\")");
}

TEST_F(ShardTest, JsonLinesWithoutTheirCaptionSayWhereTextIs) {
  shard = folder / "metadata.jsonl";
  for (const char* name : {"a.jpg", "b.jpg", "deep/c.jpg", "own/d.jpg", "._e.jpg"})
    io::write_file_atomic(folder / name, "J", false);
  io::write_file_atomic(folder / "own/metadata.csv", "file_name,text\nd.jpg,x\n", false);
  ShardScan found = scan("{\"file_name\": \"./a.jpg\", \"score\": NaN, \"alt\": \"two words\"}\n",
                         jobs::DataFormat::kTable);
  EXPECT_EQ(found.bad, (Bad{{"no_caption", 1}}));
  EXPECT_NE(found.advice.find("text in: alt (set caption_column"), std::string::npos) << found.advice;
  EXPECT_EQ(found.seen.at("pictures.unnamed"), 2) << "b and deep/c, which no table names";
  found = scan(
      "{\"file_name\": \"a.jpg\", \"text\": \"first\", \"k\": 1}\n"
      "{\"file_name\": \"b.jpg\", \"text\": \"one\", \"text\": \"as Python reads it\"}\n",
      jobs::DataFormat::kTable);
  EXPECT_EQ(ShardReader(shard, index).captions(1), Strings{"as Python reads it"});
}

TEST_F(ShardTest, AFolderOfPictures) {
  for (const char* name : {"1.jpg", "2.jpg", "10.jpg", "._1.jpg", "3.jpg.part"})
    io::write_file_atomic(folder / "p" / name, std::string("J ") + name, false);
  for (const char* name : {"1.txt", "2.txt", "10.txt"})
    io::write_file_atomic(folder / "p" / name, "text", false);
  io::write_file_atomic(folder / "p/1.json", "{\"a\":1}", false);
  std::filesystem::create_symlink("nowhere.jpg", folder / "p/4.jpg");
  const auto build = [&] { return build_shard_index(folder / "p", jobs::DataFormat::kFiles, source, index); };
  const ShardScan found = build();
  EXPECT_EQ(found.samples, 3);
  EXPECT_EQ(found.bad, (Bad{{"not_regular", 1}})) << "a link to nothing is lost with a count";
  EXPECT_EQ(found.seen.at("members.hidden"), 2);
  {
    const ShardReader reader(folder / "p", index);
    EXPECT_EQ(reader.key(2), "10") << "natural order";
    EXPECT_EQ(image(reader, 0), "J 1.jpg");
    EXPECT_EQ(reader.captions(2), Strings{"text"});
    EXPECT_EQ(reader.json(0), "{\"a\":1}");
  }
  io::write_file_atomic(folder / "p/2.jpg", "another", false);
  EXPECT_NE(build().sha256, found.sha256) << "its pictures are part of what a folder is";
}

TEST_F(ShardTest, ClassFoldersAreLabelledInTheOrderOfTheirNames) {
  io::write_file_atomic(folder / "c/Zebra/deep/1.jpg", "J", false);
  io::write_file_atomic(folder / "c/ant/1.jpg", "J", false);
  io::write_file_atomic(folder / "c/bee/1.jpg", "J", false);
  source.captions = jobs::CaptionForm::kNone;
  EXPECT_TRUE(build_shard_index(folder / "c/bee", jobs::DataFormat::kClassFolders, source, index).labels);
  EXPECT_EQ(ShardReader(folder / "c/bee", index).label(0), 2) << "as torchvision: Zebra, ant, bee";
  build_shard_index(folder / "c/Zebra", jobs::DataFormat::kClassFolders, source, index);
  EXPECT_EQ(ShardReader(folder / "c/Zebra", index).key(0), "deep/1");
}

}  // namespace
}  // namespace trireme::worker::data
