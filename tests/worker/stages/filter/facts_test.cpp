// What was measured comes back as it was written; damage is told by line.
#include "worker/stages/filter/facts.h"

#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::stages::filter {
namespace {

class FactsTest : public ::testing::Test {
 protected:
  ~FactsTest() override { std::filesystem::remove(path_); }
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("trireme-facts-" + std::to_string(::getpid()));
};

SampleFacts full() {
  SampleFacts facts;
  facts.key = "a \"key\"";
  facts.width = 640;
  facts.height = 480;
  facts.texts_per_image = 3;
  facts.captions = {{7, 2, 1, 0, 1, "en", 5, "a dog"}, {}};
  facts.columns["score"] = {ColumnValue::kNumber, 0.25, ""};
  facts.columns["licence"] = {ColumnValue::kText, 0, "by"};
  facts.copies["image"] = "train/0/1";
  facts.near["image"] = {"train/0/3", 4, "hash"};
  facts.near["embedding"] = {"train/0/4", 0.987654, "embedding"};
  facts.near["text"] = {"train/0/5", 1, "caption"};
  facts.against = NearFact{"test/1/2", 0.96, "embedding"};
  facts.spotted = {{"SALE", 0.91, {4, 0}}};
  return facts;
}

TEST_F(FactsTest, ComeBack) {
  SampleFacts bad;
  bad.decode_fault = "bad_decode";
  const std::string text = facts_file(32, {full(), bad});
  io::write_file_atomic(path_, text, false);
  const auto back = read_facts(path_, 32, 2);
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(facts_file(32, back), text);
  const auto& near = back[0].near;
  ASSERT_EQ(near.size(), 3u);
  EXPECT_EQ(near.at("embedding").place, "train/0/4");
  EXPECT_EQ(near.at("embedding").measure, 0.987654);
  EXPECT_EQ(near.at("image").measure, 4);
  EXPECT_EQ(near.at("text").by, "caption");
  ASSERT_TRUE(back[0].against);
  EXPECT_EQ(back[0].against->by, "embedding");
  EXPECT_EQ(back[0].spotted.at(0).overlaps, (std::vector<std::int64_t>{4, 0}));
  EXPECT_TRUE(back[1].near.empty());
  EXPECT_FALSE(back[1].against);
  EXPECT_NE(
      text.find(R"("near":{"embedding":["train/0/4",0.987654,"embedding"],"image":["train/0/3",4,"hash"])"),
      std::string::npos);
}

TEST_F(FactsTest, OtherVersionsRangesAndCutFilesAreRefused) {
  const std::string text = facts_file(0, {full(), full()});
  const auto refuse = [&](const std::string& bad, const char* why) {
    io::write_file_atomic(path_, bad, false);
    try {
      read_facts(path_, 0, 2);
      FAIL() << why;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  };
  std::string old = text;
  old.replace(old.find("\"version\":2"), 11, "\"version\":1");
  refuse(old, "not facts of version 2");
  refuse(facts_file(5, {full(), full()}), "another range");
  refuse(text.substr(0, text.rfind("{\"sample\"")), "ends before");
}

}  // namespace
}  // namespace trireme::worker::stages::filter
