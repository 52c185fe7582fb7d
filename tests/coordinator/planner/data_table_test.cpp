#include "coordinator/planner/data_table.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::coordinator::planner {
namespace {

class DataTableTest : public ::testing::Test {
 protected:
  DataTableTest() {
    spec_.sources.resize(1);
    table_ = std::make_unique<DataTable>("train", spec_, 256);
    for (int i = 0; i < 2; ++i) {
      jobs::ShardRef shard;
      shard.path = "/d/" + std::to_string(i) + ".tar";
      shard.format = jobs::DataFormat::kWebdataset;
      table_->add_shard(shard, 0);
    }
  }
  static jobs::ShardSummary summary(std::map<std::string, std::int64_t> seen,
                                    const std::string& reading = "") {
    jobs::ShardSummary out;
    out.sha256 = std::string(64, 'a');
    out.samples = 10;
    out.seen = std::move(seen);
    out.reading = reading;
    return out;
  }
  std::string fault_of(const jobs::ShardSummary& found, std::int64_t shard) {
    try {
      table_->set_inspected(shard, found);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  jobs::DataSpec spec_;
  std::unique_ptr<DataTable> table_;
};

TEST_F(DataTableTest, ALaterShardThatContradictsTheFirstIsNamed) {
  EXPECT_EQ(fault_of(summary({{"texts", 10}, {"texts.lines", 5}}), 0), "");
  const std::string fault = fault_of(summary({{"texts", 10}, {"texts.lines", 6}}), 1);
  EXPECT_NE(fault.find("/d/1.tar contradicts what the first texts of its source told"), std::string::npos)
      << fault;
  EXPECT_NE(fault.find("6 of its 10 texts"), std::string::npos) << fault;
}

TEST_F(DataTableTest, LabelsLieWithinTheClassNames) {
  table_->set_classes(6);
  auto found = summary({{"label.largest", 5}});
  found.labels = true;
  EXPECT_EQ(fault_of(found, 0), "");
  found.seen["label.largest"] = 6;
  EXPECT_NE(fault_of(found, 1).find("label 6, but data set \"train\" has 6 class names"), std::string::npos);
}

// A store of the first version is adopted where a shard is read as it was, and only there.
TEST_F(DataTableTest, AnotherReadingIsOtherContent) {
  table_->set_inspected(0, summary({}));
  table_->set_inspected(1, summary({}, "2:0123"));
  EXPECT_EQ(table_->content(0), std::string(64, 'a'));
  EXPECT_EQ(table_->content(1), std::string(64, 'a') + " 2:0123");
}

TEST_F(DataTableTest, AnEmptyShardSaysWhatIsKnownAndNeverBadNone) {
  auto found = summary({});
  found.samples = 0;
  found.advice = "none of its 3 members is a picture";
  const std::string fault = fault_of(found, 0);
  EXPECT_NE(fault.find("none of its 3 members"), std::string::npos) << fault;
  EXPECT_EQ(fault.find("bad: none"), std::string::npos) << fault;
}

TEST_F(DataTableTest, WhereEverythingWentIsSummed) {
  table_->set_inspected(0, summary({{"members", 30}, {"members.hidden", 2}, {"last_dot", 3}}));
  table_->set_inspected(1, summary({{"members", 20}, {"members.other", 1}}));
  EXPECT_EQ(
      table_->seen_text(),
      "of 50 members: 3 samples named up to their last dot, 1 members that are no data, 2 hidden files");
}

}  // namespace
}  // namespace trireme::coordinator::planner
