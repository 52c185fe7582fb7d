#include "coordinator/report/dot_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "coordinator/report/html.h"

namespace trireme::coordinator::report {
namespace {

constexpr double kLeft = 190, kRight = 620, kRow = 22, kTop = 30;

struct Scale {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void include(double value) {
    if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  }
  double px(double value) const { return kLeft + (value - low) / (high - low) * (kRight - kLeft); }
};

Scale scale_of(const std::vector<DotRow>& rows) {
  Scale scale;
  for (const auto& row : rows) {
    scale.include(row.mean);
    if (std::isfinite(row.spread)) scale.include(row.mean - row.spread), scale.include(row.mean + row.spread);
    for (const double value : row.values) scale.include(value);
  }
  if (!(scale.low <= scale.high)) scale.low = 0, scale.high = 1;
  const double margin = scale.high > scale.low ? 0.05 * (scale.high - scale.low) : 0.5;
  scale.low -= margin;
  scale.high += margin;
  return scale;
}

std::string dot(double x, double y, double radius, const char* opacity, const std::string& hover) {
  return "<circle cx='" + rounded(x, 6) + "' cy='" + rounded(y, 6) + "' r='" + rounded(radius, 3) +
         "' fill='#2f6fde' fill-opacity='" + opacity + "'><title>" + escape(hover) + "</title></circle>";
}

std::string row_svg(const DotRow& row, const Scale& scale, double y) {
  std::string out = "<text x='" + rounded(kLeft - 10, 6) + "' y='" + rounded(y + 4, 6) +
                    "' text-anchor='end'>" + escape(row.name) + "</text>";
  if (!std::isfinite(row.mean)) return out;
  if (std::isfinite(row.spread))
    out += "<line x1='" + rounded(scale.px(row.mean - row.spread), 6) + "' x2='" +
           rounded(scale.px(row.mean + row.spread), 6) + "' y1='" + rounded(y, 6) + "' y2='" + rounded(y, 6) +
           "' stroke='#2f6fde' stroke-width='2'/>";
  for (const double value : row.values)
    if (std::isfinite(value)) out += dot(scale.px(value), y, 3, "0.35", rounded(value));
  return out + dot(scale.px(row.mean), y, 5, "1",
                   row.name + ": " + rounded(row.mean) +
                       (std::isfinite(row.spread) ? " ± " + rounded(row.spread) : ""));
}

}  // namespace

std::string dot_chart(const std::vector<DotRow>& rows, const std::string& title) {
  const Scale scale = scale_of(rows);
  const double bottom = kTop + kRow * static_cast<double>(rows.size());
  std::string out = "<svg class='chart' viewBox='0 0 640 " + rounded(bottom + 24, 6) +
                    "' role='img' aria-label='" + escape(title) + "'><text x='" + rounded(kLeft, 6) +
                    "' y='16'>" + escape(title) + "</text>";
  for (int tick = 0; tick <= 4; ++tick) {
    const double value = scale.low + (scale.high - scale.low) * tick / 4;
    const std::string x = rounded(scale.px(value), 6);
    out += "<line class='grid' x1='" + x + "' x2='" + x + "' y1='" + rounded(kTop - 6, 6) + "' y2='" +
           rounded(bottom, 6) + "'/><text x='" + x + "' y='" + rounded(bottom + 15, 6) +
           "' text-anchor='middle'>" + rounded(value, 4) + "</text>";
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    out += row_svg(rows[i], scale, kTop + kRow * (static_cast<double>(i) + 0.5));
  return out + "</svg>";
}

}  // namespace trireme::coordinator::report
