#include "coordinator/report/timeline.h"

#include <gtest/gtest.h>

#include <map>

namespace trireme::coordinator::report {
namespace {

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(Timeline, ABarPerTaskAndALanePerWorker) {
  const std::vector<ReportSpan> spans{
      {"filter", 1, 0, 2}, {"filter", 2, 0, 3}, {"embed", 1, 2, 5}, {"train", 1, 5, 9}, {"train", 2, 5, 9}};
  const std::string html = timeline_section(spans);
  EXPECT_EQ(count(html, "<rect "), 5U);
  EXPECT_NE(html.find(">w1</text>"), std::string::npos);
  EXPECT_NE(html.find(">w2</text>"), std::string::npos);
  EXPECT_NE(html.find("filter and embed"), std::string::npos);  // they overlap from 2 to 3
  EXPECT_EQ(html.find("embed and train"), std::string::npos);
  EXPECT_EQ(timeline_section({}), "");
}

TEST(Timeline, OverlapIsThatOfTheStagesNotOfTheTasks) {
  // Two tasks of a at the same time count once; b runs in two pieces.
  const std::vector<ReportSpan> spans{
      {"a", 1, 0, 4}, {"a", 2, 1, 3}, {"a", 3, 6, 8}, {"b", 4, 3, 7}, {"b", 5, 7.5, 10}};
  EXPECT_DOUBLE_EQ(overlap_seconds(spans, "a", "b"), 1 + 1 + 0.5);
  EXPECT_DOUBLE_EQ(overlap_seconds(spans, "b", "a"), 2.5);
  EXPECT_DOUBLE_EQ(overlap_seconds(spans, "a", "c"), 0);
}

TEST(Timeline, FailedTasksAreSeen) {
  const std::string html = timeline_section({{"filter", 1, 0, 2, true}, {"filter", 1, 2, 3}});
  EXPECT_EQ(count(html, "stroke='#d00'"), 1U);
  EXPECT_NE(html.find("1 failed or lost"), std::string::npos);
}

TEST(Timeline, ManyTasksBecomeFewBarsAndNoneIsLost) {
  std::vector<ReportSpan> spans;
  std::map<std::pair<int, std::string>, double> busy;
  for (int i = 0; i < 30000; ++i) {
    const std::string stage = i % 3 == 0 ? "caption" : "filter";
    const double start = 0.02 * i, end = start + 0.015;
    spans.push_back({stage, 1 + i % 4, start, end});
    busy[{1 + i % 4, stage}] += end - start;
  }
  const auto bars = timeline_bars(spans);
  EXPECT_LE(bars.size(), kMostBars);
  EXPECT_GT(bars.size(), 100U);
  std::int64_t tasks = 0;
  for (const auto& bar : bars) {
    tasks += bar.tasks;
    busy[{bar.worker, bar.stage}] -= bar.busy_seconds;
    EXPECT_GE(bar.end_seconds, bar.start_seconds);
  }
  EXPECT_EQ(tasks, 30000);
  for (const auto& [lane, left] : busy) EXPECT_NEAR(left, 0, 1e-6);
  EXPECT_LT(timeline_section(spans).size(), 1000000U);
}

TEST(Timeline, OneBarEachWhenEvenThatIsTooMany) {
  std::vector<ReportSpan> spans;
  for (int i = 0; i < 5000; ++i) spans.push_back({"filter", 1, 1.0 * i, i + 0.5});
  EXPECT_LE(timeline_bars(spans, 10).size(), 10U);
  EXPECT_EQ(timeline_bars(spans, 5000).size(), 5000U);
}

}  // namespace
}  // namespace trireme::coordinator::report
