// Who did what when: a lane per worker, a bar per task coloured by its stage over wall time, so that stages
// that overlap shard by shard are seen to. Beyond kMostBars, tasks of one stage and worker that begin within
// the same few pixels become one bar, which says how many it holds. Below, how much of each pair of stages
// overlapped.
#pragma once

#include <string>
#include <vector>

#include "coordinator/report/report.h"

namespace trireme::coordinator::report {

inline constexpr std::size_t kMostBars = 2000;

// What is drawn for `spans`; at most kMostBars, but for a fleet with more lanes times stages than that.
struct TimelineBar {
  std::string stage;
  int worker = 0;
  double start_seconds = 0, end_seconds = 0, busy_seconds = 0;
  std::int64_t tasks = 1, failed = 0;
};
std::vector<TimelineBar> timeline_bars(const std::vector<ReportSpan>& spans, std::size_t most = kMostBars);

// Seconds in which tasks of both stages ran, on any workers.
double overlap_seconds(const std::vector<ReportSpan>& spans, const std::string& a, const std::string& b);

std::string timeline_section(const std::vector<ReportSpan>& spans);  // "" without spans

}  // namespace trireme::coordinator::report
