#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "jobs/store/receipt.h"
#include "tests/support/faulty_files.h"

namespace trireme::store {
namespace {
namespace fs = std::filesystem;

class Receipt : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "model");
    task_.kind = jobs::TaskKind::kFilter;
    task_.stage = "filter";
    task_.lease = {7};
    task_.address = std::string(32, 'a');
    task_.output = (folder_ / task_.address).string();
    io::write_file_atomic(task_.output + ".verdicts.jsonl", "one\ntwo\n");
    io::write_file_atomic(folder_ / "model/manifest.json", "{}");
    io::write_file_atomic(folder_ / "model/weights", "12345");
    done_.outputs = {describe_output("", task_.output + ".verdicts.jsonl"),
                     describe_output("model", (folder_ / "model").string())};
    done_.counts = {{"in", 2}, {"dropped.short_side", 1}};
    done_.summary = R"({"samples":2,"rate":0.1})";
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_ = fs::temp_directory_path() / ("trireme-receipt-" + std::to_string(::getpid()));
  jobs::Task task_;
  jobs::TaskDone done_;
};

TEST_F(Receipt, OutputsAreDescribed) {
  EXPECT_EQ(done_.outputs[0].bytes, 8U);
  EXPECT_EQ(done_.outputs[0].xxh3, io::xxh3_64("one\ntwo\n"));
  EXPECT_EQ(done_.outputs[1].bytes, 7U);
  const auto line = [](const std::string& name, const std::string& text) {
    return name + '\0' + std::to_string(text.size()) + '\0' + io::hex(io::xxh3_64(text)) + '\n';
  };
  EXPECT_EQ(done_.outputs[1].xxh3, io::xxh3_64(line("manifest.json", "{}") + line("weights", "12345")));
  EXPECT_THROW(describe_output("", task_.output + ".missing"), Error);
}

TEST_F(Receipt, AnEqualTaskIsAnswered) {
  jobs::TaskDone found;
  EXPECT_FALSE(read_receipt(task_, found));
  write_receipt(task_, done_);
  ASSERT_TRUE(read_receipt(task_, found));
  EXPECT_TRUE(found.reused);
  EXPECT_EQ(found.lease, task_.lease);
  EXPECT_EQ(found.counts, done_.counts);
  ASSERT_EQ(found.outputs.size(), 2U);
  EXPECT_TRUE(fs::equivalent(found.outputs[0].path, done_.outputs[0].path));
  EXPECT_EQ(found.outputs[1].xxh3, done_.outputs[1].xxh3);
}

TEST_F(Receipt, MovesWithItsFolder) {
  write_receipt(task_, done_);
  const fs::path elsewhere = folder_.string() + "-moved";
  fs::rename(folder_, elsewhere);
  task_.output = (elsewhere / task_.address).string();
  jobs::TaskDone found;
  EXPECT_TRUE(read_receipt(task_, found));
  fs::rename(elsewhere, folder_);
}

TEST_F(Receipt, DamageIsNotAnAnswer) {
  write_receipt(task_, done_);
  jobs::TaskDone found;
  const std::string path = task_.output + ".receipt.json";
  const std::string good = io::read_file(path);
  for (std::size_t i = 0; i + 1 < good.size(); i += 7) {  // the last byte is a newline
    std::string bad = good;
    bad[i] ^= 1;
    io::write_file_atomic(path, bad, false);
    EXPECT_FALSE(read_receipt(task_, found)) << i;
    io::write_file_atomic(path, std::string_view(good).substr(0, i), false);
    EXPECT_FALSE(read_receipt(task_, found)) << i;
  }
  io::write_file_atomic(path, good);
  EXPECT_TRUE(read_receipt(task_, found));
  io::write_file_atomic(folder_ / "model/weights", "12346");  // as long as before, beside an intact manifest
  EXPECT_FALSE(read_receipt(task_, found));
  io::write_file_atomic(folder_ / "model/weights", "12345");
  EXPECT_TRUE(read_receipt(task_, found));
  jobs::Task other = task_;
  other.address = std::string(32, 'b');
  EXPECT_FALSE(read_receipt(other, found));
  other = task_;
  other.kind = jobs::TaskKind::kEmbed;
  EXPECT_FALSE(read_receipt(other, found));
  io::write_file_atomic(task_.output + ".verdicts.jsonl", "one\ntwp\n");
  EXPECT_FALSE(read_receipt(task_, found));
  fs::remove(task_.output + ".verdicts.jsonl");
  EXPECT_FALSE(read_receipt(task_, found));
}

TEST_F(Receipt, AFaultOfTheDiskLeavesNoReceipt) {
  trireme::testing::FaultyFiles files;
  jobs::TaskDone found;
  files.room = 20;
  EXPECT_THROW(write_receipt(task_, done_, files), Error);
  files.room = -1;
  files.sync_fault = EIO;
  EXPECT_THROW(write_receipt(task_, done_, files), Error);
  EXPECT_FALSE(read_receipt(task_, found));
  files.sync_fault = 0;
  files.most_bytes_a_write = 3;
  write_receipt(task_, done_, files);
  EXPECT_TRUE(read_receipt(task_, found));
  files.seen_late = ".receipt.json";  // not seen yet: the task runs again, which costs time and no result
  files.looks_missed = 1;
  EXPECT_FALSE(read_receipt(task_, found, files));
  EXPECT_TRUE(read_receipt(task_, found, files));
}

}  // namespace
}  // namespace trireme::store
