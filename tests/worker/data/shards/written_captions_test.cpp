#include "worker/data/shards/written_captions.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/error.h"
#include "tests/support/tar_writer.h"

namespace trireme::worker::data {
namespace {

class WrittenCaptionsTest : public ::testing::Test {
 protected:
  io::Path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-written-" + std::to_string(::getpid()));
  std::string sha256_;
  std::unique_ptr<ShardReader> reader_;

  void SetUp() override {
    testing::TarWriter tar;
    for (int i = 0; i < 6; ++i) {
      tar.add("k" + std::to_string(i) + ".jpg", "p");
      tar.add("k" + std::to_string(i) + ".txt", "t");
    }
    io::write_file_atomic(folder_ / "s.tar", tar.bytes(), false);
    sha256_ =
        build_shard_index(folder_ / "s.tar", jobs::DataFormat::kWebdataset, {}, folder_ / "s.idx").sha256;
    reader_ = std::make_unique<ShardReader>(folder_ / "s.tar", folder_ / "s.idx");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  WrittenCaptions part(std::int64_t first, std::int64_t count) const {
    WrittenCaptions file{sha256_, first, count, "0123", R"({"method":"greedy"})", {}};
    for (std::int64_t i = first; i < first + count; ++i)
      file.captions.push_back({i, "k" + std::to_string(i), "picture \"" + std::to_string(i) + "\" é",
                               -1.25 - 1e-9, 4, i != 1, ""});
    return file;
  }
  std::string write(const std::string& name, const WrittenCaptions& file) const {
    write_captions_file(folder_ / name, file);
    return (folder_ / name).string();
  }
  std::string join_fault(const std::vector<std::string>& files, const std::vector<std::int32_t>& kept) const {
    try {
      const ShardCaptions captions(files, {"s.tar", sha256_, "captions"}, *reader_, kept);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(WrittenCaptionsTest, ComeBackAsTheyWere) {
  auto file = part(2, 3);
  file.captions[1].fault = "bad_decode";
  file.captions[1].text = "";
  const auto path = write("a.jsonl", file);
  const auto again = read_captions_file(path);
  EXPECT_EQ(again.shard_sha256, sha256_);
  EXPECT_EQ(again.first, 2);
  EXPECT_EQ(again.count, 3);
  EXPECT_EQ(again.model, "0123");
  EXPECT_EQ(again.decoding, R"({"method":"greedy"})");
  ASSERT_EQ(again.captions.size(), 3U);
  EXPECT_EQ(again.captions[0].text, "picture \"2\" é");
  EXPECT_EQ(again.captions[0].log_probability, -1.25);
  EXPECT_EQ(again.captions[0].tokens, 4);
  EXPECT_TRUE(again.captions[0].ended);
  EXPECT_EQ(again.captions[1].fault, "bad_decode");
  const auto bytes = io::read_file(path);
  EXPECT_EQ(io::read_file(write("b.jsonl", file)), bytes);
}

TEST_F(WrittenCaptionsTest, DamageIsRefusedByFileAndLine) {
  const auto path = write("a.jsonl", part(0, 4));
  const auto text = io::read_file(path);
  for (std::size_t cut = 0; cut < text.size(); ++cut) {  // no prefix passes for the whole
    io::write_file_atomic(folder_ / "cut.jsonl", text.substr(0, cut), false);
    EXPECT_THROW(read_captions_file(folder_ / "cut.jsonl"), Error) << cut;
  }
  const auto fault = [&](const std::string& from, const std::string& to) {
    auto changed = text;
    changed.replace(changed.find(from), from.size(), to);
    io::write_file_atomic(folder_ / "changed.jsonl", changed, false);
    try {
      read_captions_file(folder_ / "changed.jsonl");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(fault("\"version\":1", "\"version\":2").find(":1: not captions of version 1"), std::string::npos);
  EXPECT_NE(fault("{\"sample\":2", "{\"sample\":1").find("changed.jsonl:4: sample 1 is out of order"),
            std::string::npos);
  EXPECT_NE(fault("{\"sample\":3", "{\"sample\":9").find(":5: sample 9"), std::string::npos);
}

TEST_F(WrittenCaptionsTest, AreJoinedByKey) {
  const std::vector<std::string> files{write("b.jsonl", part(3, 3)), write("a.jsonl", part(0, 3))};
  const ShardCaptions captions(files, {"s.tar", sha256_, "captions"}, *reader_, {0, 1, 2, 3, 4, 5});
  EXPECT_EQ(captions.caption(4), "picture \"4\" é");
  EXPECT_EQ(join_fault(files, {}), "");
}

TEST_F(WrittenCaptionsTest, MissingAndStaleAreErrorsWithACount) {
  const auto half = write("a.jsonl", part(0, 3));
  const auto missing = join_fault({half}, {1, 2, 3, 5});
  EXPECT_NE(missing.find(
                "captions of stage 'captions' do not fit shard s.tar: 2 of its 4 samples have none, 0 have "
                "one of another key (first: key k3)"),
            std::string::npos)
      << missing;
  EXPECT_EQ(join_fault({half}, {0, 2}), "");
  auto moved = part(0, 6);
  moved.captions[2].key = "k3";
  moved.captions[3].key = "k2";
  EXPECT_NE(join_fault({write("m.jsonl", moved)}, {0, 1, 2, 3})
                .find("0 of its 4 samples have none, 2 have one of another key"),
            std::string::npos);
  auto other = part(0, 6);
  other.shard_sha256 = "ffff";
  EXPECT_NE(join_fault({write("o.jsonl", other)}, {0})
                .find("are stale: they were written for a shard with sha256 ffff"),
            std::string::npos);
  EXPECT_NE(join_fault({}, {0, 1}).find("2 of its 2 samples have none"), std::string::npos);
}

}  // namespace
}  // namespace trireme::worker::data
