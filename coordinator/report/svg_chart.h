// A line chart as inline SVG: axes with round ticks, one or more series, values on hover. No script, no
// outside file.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace trireme::coordinator::report {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; non-finite values are left out
  bool faint = false;
  std::vector<double> spread = {};  // one per point, drawn as a bar up and down; empty or not finite: none
};

struct ChartOptions {
  std::string title, x_label, y_label;
  int width_px = 640, height_px = 260;
};

// At most 600 points a series are drawn: of each column of pixels the least and the greatest value.
std::string line_chart(const std::vector<Series>& series, const ChartOptions& options);

// Exponential moving average with the given half-life in points.
Series smoothed(const Series& series, double half_life);

}  // namespace trireme::coordinator::report
