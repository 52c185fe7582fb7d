#include "coordinator/report/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "coordinator/report/html.h"

namespace trireme::coordinator::report {
namespace {

constexpr std::array<const char*, 5> kColours{"#2f6fde", "#d9622b", "#2a9d63", "#9250c8", "#b08a00"};
constexpr int kLeft = 56, kRight = 12, kTop = 26, kBottom = 34;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void widen() {
    if (!(low <= high)) low = 0, high = 1;
    if (low == high) low -= 0.5, high += 0.5;
  }
};

// 1, 2 or 5 times a power of ten, so that about `count` steps fit.
double round_step(const Range& range, int count) {
  const double raw = (range.high - range.low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points) {
  constexpr std::size_t kMost = 600;
  std::vector<std::pair<double, double>> finite;
  for (const auto& point : points)
    if (std::isfinite(point.first) && std::isfinite(point.second)) finite.push_back(point);
  if (finite.size() <= kMost) return finite;
  std::vector<std::pair<double, double>> out;
  const std::size_t columns = kMost / 2;
  for (std::size_t column = 0; column < columns; ++column) {
    const auto first = finite.begin() + static_cast<std::ptrdiff_t>(column * finite.size() / columns);
    const auto last = finite.begin() + static_cast<std::ptrdiff_t>((column + 1) * finite.size() / columns);
    auto [least, most] =
        std::minmax_element(first, last, [](const auto& a, const auto& b) { return a.second < b.second; });
    if (least > most) std::swap(least, most);
    out.push_back(*least);
    if (least != most) out.push_back(*most);
  }
  return out;
}

struct Frame {
  Range x, y;
  int width, height;
  double px(double value) const {
    return kLeft + (value - x.low) / (x.high - x.low) * (width - kLeft - kRight);
  }
  double py(double value) const {
    return height - kBottom - (value - y.low) / (y.high - y.low) * (height - kTop - kBottom);
  }
};

std::string text_at(double x, double y, const std::string& anchor, const std::string& text) {
  return "<text x='" + rounded(x, 6) + "' y='" + rounded(y, 6) + "' text-anchor='" + anchor + "'>" +
         escape(text) + "</text>";
}

std::string axes(const Frame& frame, const ChartOptions& options) {
  std::string out;
  const double y_step = round_step(frame.y, 5), x_step = round_step(frame.x, 6);
  for (double y = std::ceil(frame.y.low / y_step) * y_step; y <= frame.y.high + 1e-9 * y_step; y += y_step) {
    const std::string at = rounded(frame.py(y), 6);
    out += "<line class='grid' x1='" + std::to_string(kLeft) + "' x2='" +
           std::to_string(frame.width - kRight) + "' y1='" + at + "' y2='" + at + "'/>" +
           text_at(kLeft - 6, frame.py(y) + 4, "end", rounded(std::abs(y) < y_step / 1e6 ? 0 : y, 5));
  }
  for (double x = std::ceil(frame.x.low / x_step) * x_step; x <= frame.x.high + 1e-9 * x_step; x += x_step)
    out += text_at(frame.px(x), frame.height - kBottom + 15, "middle",
                   rounded(std::abs(x) < x_step / 1e6 ? 0 : x, 7));
  out += text_at(kLeft, 16, "start",
                 options.title + (options.y_label.empty() ? "" : " (" + options.y_label + ")"));
  return out + text_at(frame.width - kRight, frame.height - 4, "end", options.x_label);
}

// A dot at each point with a bar of its spread; for few points, as means over seeds are.
std::string spread_bars(const Series& series, const Frame& frame, const char* colour) {
  std::string out;
  for (std::size_t i = 0; i < std::min(series.points.size(), series.spread.size()); ++i) {
    const auto [x, y] = series.points[i];
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    const double spread = series.spread[i];
    const std::string at = rounded(frame.px(x), 6);
    if (std::isfinite(spread))
      out += "<line x1='" + at + "' x2='" + at + "' y1='" + rounded(frame.py(y - spread), 6) + "' y2='" +
             rounded(frame.py(y + spread), 6) + "' stroke='" + colour + "' stroke-width='1.2'/>";
    out += "<circle cx='" + at + "' cy='" + rounded(frame.py(y), 6) + "' r='3' fill='" + colour +
           "'><title>" + escape(series.name) + " at " + rounded(x, 7) + ": " + rounded(y) +
           (std::isfinite(spread) ? " ± " + rounded(spread) : "") + "</title></circle>";
  }
  return out;
}

void include(Frame& frame, const Series& series) {
  for (std::size_t i = 0; i < std::min(series.points.size(), series.spread.size()); ++i) {
    const double y = series.points[i].second, spread = series.spread[i];
    if (!std::isfinite(y) || !std::isfinite(spread)) continue;
    frame.y.include(y - spread);
    frame.y.include(y + spread);
  }
}

}  // namespace

std::string line_chart(const std::vector<Series>& series, const ChartOptions& options) {
  Frame frame{{}, {}, options.width_px, options.height_px};
  std::vector<std::vector<std::pair<double, double>>> drawn;
  for (const auto& one : series) {
    drawn.push_back(thinned(one.points));
    for (const auto& [x, y] : drawn.back()) frame.x.include(x), frame.y.include(y);
    include(frame, one);
  }
  frame.x.widen();
  frame.y.widen();
  std::string out = "<svg class='chart' viewBox='0 0 " + std::to_string(frame.width) + " " +
                    std::to_string(frame.height) + "' role='img' aria-label='" + escape(options.title) +
                    "'>" + axes(frame, options);
  for (std::size_t i = 0; i < series.size(); ++i) {
    std::string path;
    for (const auto& [x, y] : drawn[i])
      path += (path.empty() ? "M" : "L") + rounded(frame.px(x), 6) + " " + rounded(frame.py(y), 6);
    if (path.empty()) continue;
    const auto& last = drawn[i].back();
    out += "<path fill='none' stroke='" + std::string(kColours[i % kColours.size()]) +
           "' stroke-width='1.6' stroke-opacity='" + (series[i].faint ? "0.3" : "1") + "' d='" + path +
           "'><title>" + escape(series[i].name) + ": last " + rounded(last.second) + " at " +
           rounded(last.first, 7) + "</title></path>" +
           spread_bars(series[i], frame, kColours[i % kColours.size()]);
    if (!series[i].faint && series.size() > 1)
      out += "<g fill='" + std::string(kColours[i % kColours.size()]) + "'>" +
             text_at(frame.width - kRight, 16 + 14 * static_cast<double>(i), "end", series[i].name) + "</g>";
  }
  return out + "</svg>";
}

Series smoothed(const Series& series, double half_life) {
  Series out{series.name + ", smoothed", {}, false};
  const double keep = std::pow(0.5, 1 / std::max(half_life, 1e-6));
  double mean = 0, weight = 0;
  for (const auto& [x, y] : series.points) {
    if (!std::isfinite(y)) continue;
    mean = keep * mean + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    out.points.emplace_back(x, mean / weight);
  }
  return out;
}

}  // namespace trireme::coordinator::report
