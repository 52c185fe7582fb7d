#include "coordinator/sweep/shot_curves.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "coordinator/report/svg_chart.h"

namespace trireme::coordinator::sweep {
namespace {

constexpr std::string_view kAccuracyAt = "_acc1@", kZeroShot = ".zero_shot_acc1";

// "few-shot.probe_acc1@16" -> few-shot, probe, 16
struct ShotMetric {
  std::string stage, probe;
  double shots = 0;
};
std::optional<ShotMetric> shot_metric(const std::string& metric) {
  const auto dot = metric.find('.'), at = metric.find(kAccuracyAt);
  if (dot == std::string::npos || at == std::string::npos || at < dot) return std::nullopt;
  std::int64_t shots = 0;
  const char* const last = metric.data() + metric.size();
  const auto [end, error] = std::from_chars(metric.data() + at + kAccuracyAt.size(), last, shots);
  if (error != std::errc() || end != last || shots < 1) return std::nullopt;
  return ShotMetric{metric.substr(0, dot), metric.substr(dot + 1, at - dot - 1), static_cast<double>(shots)};
}

struct Point {
  std::string probe;
  double shots = 0;
  const Summary* summary = nullptr;
};

std::string chart(const std::string& title, std::vector<Point> points, const Summary* zero_shot) {
  std::stable_sort(points.begin(), points.end(),
                   [](const auto& a, const auto& b) { return a.shots < b.shots; });
  std::vector<report::Series> lines;
  for (const Point& point : points) {
    auto line =
        std::find_if(lines.begin(), lines.end(), [&](const auto& one) { return one.name == point.probe; });
    if (line == lines.end()) line = lines.insert(lines.end(), report::Series{point.probe, {}, false, {}});
    line->points.emplace_back(point.shots, point.summary->mean);
    line->spread.push_back(point.summary->spread);
  }
  if (zero_shot != nullptr && zero_shot->n > 0) {
    report::Series across{"zero_shot", {}, true, {}};
    for (const double shots : {points.front().shots, points.back().shots})
      across.points.emplace_back(shots, zero_shot->mean);
    lines.push_back(std::move(across));
  }
  return report::line_chart(lines, {.title = title, .x_label = "shots per class", .y_label = "acc1"});
}

}  // namespace

std::string shot_curves(const Table& table) {
  std::string out;
  for (const TableRow& row : table.rows) {
    std::vector<std::pair<std::string, std::vector<Point>>> stages;
    for (std::size_t m = 0; m < table.metrics.size(); ++m) {
      const auto metric = shot_metric(table.metrics[m]);
      if (!metric || row.metrics[m].n == 0) continue;
      auto stage = std::find_if(stages.begin(), stages.end(),
                                [&](const auto& one) { return one.first == metric->stage; });
      if (stage == stages.end()) stage = stages.insert(stages.end(), {metric->stage, {}});
      stage->second.push_back({metric->probe, metric->shots, &row.metrics[m]});
    }
    for (const auto& [stage, points] : stages) {
      const bool several = std::any_of(points.begin(), points.end(),
                                       [&](const Point& one) { return one.shots != points.front().shots; });
      if (!several) continue;
      const auto zero = std::find(table.metrics.begin(), table.metrics.end(), stage + std::string(kZeroShot));
      const std::string label = row.row.label();
      out += chart(stage + (label.empty() ? "" : ": " + label), points,
                   zero == table.metrics.end()
                       ? nullptr
                       : &row.metrics[static_cast<std::size_t>(zero - table.metrics.begin())]);
    }
  }
  return out;
}

}  // namespace trireme::coordinator::sweep
