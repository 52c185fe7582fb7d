#include "coordinator/report/timeline.h"

#include <algorithm>
#include <map>
#include <set>

#include "coordinator/report/html.h"

namespace trireme::coordinator::report {
namespace {

constexpr double kLeft = 34, kWidth = 960, kLane = 22, kBar = 16;

// Stages in the order in which they begin.
std::vector<std::string> stages_of(const std::vector<ReportSpan>& spans) {
  std::map<std::string, double> begin;
  for (const auto& span : spans) {
    const auto [found, fresh] = begin.emplace(span.stage, span.start_seconds);
    if (!fresh) found->second = std::min(found->second, span.start_seconds);
  }
  std::vector<std::pair<double, std::string>> sorted;
  for (const auto& [stage, start] : begin) sorted.emplace_back(start, stage);
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> names;
  for (auto& [start, stage] : sorted) names.push_back(std::move(stage));
  return names;
}

std::string colour(std::size_t stage) {
  return "hsl(" + std::to_string(stage * 137 % 360) + ",60%,50%)";
}

// Tasks of one worker and stage that begin within `gap` become one.
std::vector<TimelineBar> merged(const std::vector<TimelineBar>& bars, double gap) {
  std::vector<TimelineBar> out;
  std::map<std::pair<int, std::string>, std::size_t> last;
  for (const auto& bar : bars) {
    const auto [found, fresh] = last.emplace(std::pair(bar.worker, bar.stage), out.size());
    if (!fresh && bar.start_seconds - out[found->second].start_seconds < gap) {
      auto& into = out[found->second];
      into.end_seconds = std::max(into.end_seconds, bar.end_seconds);
      into.busy_seconds += bar.busy_seconds;
      into.tasks += bar.tasks;
      into.failed += bar.failed;
      continue;
    }
    found->second = out.size();
    out.push_back(bar);
  }
  return out;
}

// Times in which any task of the stage ran, disjoint and ascending.
std::vector<std::pair<double, double>> covered(const std::vector<ReportSpan>& spans,
                                               const std::string& stage) {
  std::vector<std::pair<double, double>> all, out;
  for (const auto& span : spans)
    if (span.stage == stage && span.end_seconds > span.start_seconds)
      all.emplace_back(span.start_seconds, span.end_seconds);
  std::sort(all.begin(), all.end());
  for (const auto& [start, end] : all)
    if (!out.empty() && start <= out.back().second)
      out.back().second = std::max(out.back().second, end);
    else
      out.emplace_back(start, end);
  return out;
}

std::string bar_svg(const TimelineBar& bar, std::size_t lane, std::size_t stage, double begin,
                    double seconds) {
  const double x = kLeft + kWidth * (bar.start_seconds - begin) / seconds;
  const double width = std::max(0.6, kWidth * (bar.end_seconds - bar.start_seconds) / seconds);
  std::string hover = escape(bar.stage) + ", worker " + std::to_string(bar.worker) + ": " +
                      rounded(bar.start_seconds, 5) + " to " + rounded(bar.end_seconds, 5) + " s";
  if (bar.tasks > 1)
    hover += ", " + with_commas(bar.tasks) + " tasks, busy " + rounded(bar.busy_seconds, 4) + " s";
  if (bar.failed > 0) hover += ", " + with_commas(bar.failed) + " failed or lost";
  return "<rect x='" + rounded(x, 6) + "' y='" + rounded(kLane * static_cast<double>(lane) + 3, 6) +
         "' width='" + rounded(width, 5) + "' height='" + rounded(kBar, 3) + "' fill='" + colour(stage) +
         "'" + (bar.failed > 0 ? " stroke='#d00' stroke-width='1.5'" : "") + "><title>" + hover +
         "</title></rect>";
}

std::string axis_svg(double begin, double seconds, double bottom) {
  std::string out;
  for (int tick = 0; tick <= 8; ++tick) {
    const std::string x = rounded(kLeft + kWidth * tick / 8, 6);
    out += "<line class='grid' x1='" + x + "' x2='" + x + "' y1='0' y2='" + rounded(bottom, 6) +
           "'/><text x='" + x + "' y='" + rounded(bottom + 14, 6) + "' text-anchor='" +
           (tick == 8 ? "end" : "middle") + "'>" + rounded(begin + seconds * tick / 8, 4) +
           (tick == 8 ? " s" : "") + "</text>";
  }
  return out;
}

std::string legend(const std::vector<std::string>& stages, const std::vector<ReportSpan>& spans) {
  std::string out = "<p>";
  for (std::size_t i = 0; i < stages.size(); ++i) {
    double busy = 0;
    for (const auto& span : spans)
      if (span.stage == stages[i]) busy += span.end_seconds - span.start_seconds;
    out +=
        "<span style='white-space:nowrap;margin-right:1rem'><span style='display:inline-block;width:.8em;"
        "height:.8em;background:" +
        colour(i) + "'></span> " + escape(stages[i]) + " <span class='quiet'>" + rounded(busy, 4) +
        " s of work</span></span> ";
  }
  return out + "</p>";
}

std::string overlaps(const std::vector<std::string>& stages, const std::vector<ReportSpan>& spans) {
  std::vector<std::vector<std::string>> rows;
  for (std::size_t a = 0; a < stages.size(); ++a)
    for (std::size_t b = a + 1; b < stages.size(); ++b)
      if (const double seconds = overlap_seconds(spans, stages[a], stages[b]); seconds >= 0.001)
        rows.push_back({stages[a] + " and " + stages[b], rounded(seconds, 4)});
  return rows.empty() ? "" : report::table({"at the same time", "seconds"}, rows);
}

}  // namespace

std::vector<TimelineBar> timeline_bars(const std::vector<ReportSpan>& spans, std::size_t most) {
  std::vector<TimelineBar> bars;
  double begin = spans.empty() ? 0 : spans.front().start_seconds, end = begin;
  for (const auto& span : spans) {
    const double stop = std::max(span.start_seconds, span.end_seconds);
    bars.push_back({span.stage, span.worker, span.start_seconds, stop, stop - span.start_seconds, 1,
                    span.failed ? 1 : 0});
    begin = std::min(begin, span.start_seconds);
    end = std::max(end, stop);
  }
  std::sort(bars.begin(), bars.end(),
            [](const auto& a, const auto& b) { return a.start_seconds < b.start_seconds; });
  for (double gap = (end - begin) / kWidth; bars.size() > most && gap < 2 * (end - begin) + 1; gap *= 2)
    bars = merged(bars, gap);
  return bars;
}

double overlap_seconds(const std::vector<ReportSpan>& spans, const std::string& a, const std::string& b) {
  const auto of_a = covered(spans, a), of_b = covered(spans, b);
  double seconds = 0;
  for (std::size_t i = 0, k = 0; i < of_a.size() && k < of_b.size();) {
    seconds +=
        std::max(0.0, std::min(of_a[i].second, of_b[k].second) - std::max(of_a[i].first, of_b[k].first));
    of_a[i].second < of_b[k].second ? ++i : ++k;
  }
  return seconds;
}

std::string timeline_section(const std::vector<ReportSpan>& spans) {
  if (spans.empty()) return "";
  const auto bars = timeline_bars(spans);
  const auto stages = stages_of(spans);
  std::set<int> lanes;
  double begin = bars.front().start_seconds, end = begin;
  for (const auto& bar : bars) {
    lanes.insert(bar.worker);
    end = std::max(end, bar.end_seconds);
  }
  const double seconds = std::max(end - begin, 1e-3), bottom = kLane * static_cast<double>(lanes.size());
  std::string out = "<h2>Timeline</h2>" + legend(stages, spans) +
                    "<svg class='chart' style='max-width:none' viewBox='0 0 1000 " + rounded(bottom + 18, 6) +
                    "' role='img' aria-label='tasks of each worker over time'>" +
                    axis_svg(begin, seconds, bottom);
  for (const auto& bar : bars) {
    const auto lane = static_cast<std::size_t>(std::distance(lanes.begin(), lanes.find(bar.worker)));
    const auto stage =
        static_cast<std::size_t>(std::find(stages.begin(), stages.end(), bar.stage) - stages.begin());
    out += bar_svg(bar, lane, stage, begin, seconds);
  }
  std::size_t lane = 0;
  for (const int worker : lanes)
    out += "<text x='0' y='" + rounded(kLane * static_cast<double>(++lane) - 7, 6) + "'>w" +
           std::to_string(worker) + "</text>";
  return out + "</svg><p class='quiet'>" + with_commas(static_cast<std::int64_t>(spans.size())) + " tasks" +
         (bars.size() < spans.size() ? " in " + with_commas(static_cast<std::int64_t>(bars.size())) + " bars"
                                     : "") +
         ", a lane per worker</p>" + overlaps(stages, spans);
}

}  // namespace trireme::coordinator::report
