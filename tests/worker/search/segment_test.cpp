#include "worker/search/segment.h"

#include <filesystem>

#include <unistd.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "worker/search/row_filter.h"

namespace trireme::worker::search {
namespace {

class SegmentTest : public ::testing::Test {
 protected:
  SegmentTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    rows_ = at::randn({4, 16});
    items_ = {{3, "a", "http://x/1.jpg", {"one", "eins"}, R"({"width":200,"lang":"en"})"},
              {5, "b", "", {}, R"({"width":300.5,"lang":"de","safe":true})"},
              {6, "ü", "u", {"drei"}, R"({"lang":""})"},
              {9, "d", "u", {"vier"}, R"({"width":100,"lang":"en"})"}};
    write_segment(path_, rows_, items_, {"lang", "safe", "width"});
  }
  ~SegmentTest() override { std::filesystem::remove_all(folder_); }

  std::vector<std::uint8_t> allowed(const Condition& condition) {
    return allowed_rows(Segment(path_), {condition});
  }

  const io::Path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-segment-" + std::to_string(::getpid()));
  const io::Path path_ = folder_ / "s.segment";
  at::Tensor rows_;
  std::vector<Item> items_;
};
using Rows = std::vector<std::uint8_t>;

TEST_F(SegmentTest, GivesBackWhatWasPutIn) {
  const Segment segment(path_);
  EXPECT_EQ(segment.size(), 4);
  EXPECT_TRUE(segment.rows().equal(rows_.to(at::kHalf)));
  EXPECT_EQ(segment.columns(), (std::vector<std::string>{"lang", "safe", "width"}));
  for (std::int64_t row = 0; row < 4; ++row) {
    const Item item = segment.item(row), &put = items_[static_cast<std::size_t>(row)];
    EXPECT_EQ(item.key, put.key);
    EXPECT_EQ(item.url, put.url);
    EXPECT_EQ(item.captions, put.captions);
    EXPECT_EQ(item.sample, put.sample);
    EXPECT_EQ(item.columns, put.columns);
  }
  const std::string bytes = io::read_file(path_);
  write_segment(path_, rows_, items_, {"lang", "safe", "width"});
  EXPECT_EQ(io::read_file(path_), bytes);
}

TEST_F(SegmentTest, ConditionsOnColumns) {
  EXPECT_EQ(allowed({.column = "width", .least = 200}), (Rows{1, 1, 0, 0}));
  EXPECT_EQ(allowed({.column = "width", .least = 150, .most = 300}), (Rows{1, 0, 0, 0}));
  EXPECT_EQ(allowed({.column = "width", .least = 200, .keep_missing = true}), (Rows{1, 1, 1, 0}));
  EXPECT_EQ(allowed({.column = "lang", .one_of = {"en", "fr"}}), (Rows{1, 0, 0, 1}));
  EXPECT_EQ(allowed({.column = "lang", .none_of = {"en"}}), (Rows{0, 1, 0, 0}));
  EXPECT_EQ(allowed({.column = "width", .one_of = {"300.5", "100"}}), (Rows{0, 1, 0, 1}));
  EXPECT_EQ(allowed({.column = "safe", .one_of = {"1"}}), (Rows{0, 1, 0, 0}));
  EXPECT_EQ(allowed({.column = "none", .one_of = {"1"}}), (Rows{0, 0, 0, 0}));
  const Rows both =
      allowed_rows(Segment(path_), {{.column = "lang", .one_of = {"en"}}, {.column = "width", .most = 150}});
  EXPECT_EQ(both, (Rows{0, 0, 0, 1}));
}

TEST_F(SegmentTest, NoSegmentIsRefusedByName) {
  for (const std::string& bytes : {std::string("no segment"), io::read_file(path_).substr(0, 300)}) {
    io::write_file_atomic(path_, bytes, false);
    try {
      Segment segment(path_);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("s.segment"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace trireme::worker::search
