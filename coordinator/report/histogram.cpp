#include "coordinator/report/histogram.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "coordinator/report/html.h"

namespace trireme::coordinator::report {
namespace {

constexpr double kWidth = 360, kHeight = 170, kTop = 40, kBottom = 20, kLeft = 8;
constexpr std::array<const char*, 3> kColours{"#2a9d63", "#d9622b", "#687084"};

struct Bins {
  std::size_t first = 0, last = 0;  // [first, last)
  double most = 0;                  // greatest share
};

std::int64_t total(const HistogramSeries& series) {
  return std::accumulate(series.counts.begin(), series.counts.end(), std::int64_t{0});
}

Bins used_bins(const std::vector<HistogramSeries>& series) {
  Bins bins{series.front().counts.size(), 0, 0};
  for (const auto& one : series) {
    const auto all = static_cast<double>(total(one));
    for (std::size_t i = 0; i < one.counts.size(); ++i) {
      if (one.counts[i] <= 0) continue;
      bins.first = std::min(bins.first, i);
      bins.last = std::max(bins.last, i + 1);
      bins.most = std::max(bins.most, static_cast<double>(one.counts[i]) / all);
    }
  }
  return bins;
}

std::string outline(const HistogramSeries& series, const Bins& bins, const char* colour) {
  const auto all = static_cast<double>(total(series));
  if (all <= 0) return "";
  const double step = (kWidth - 2 * kLeft) / static_cast<double>(bins.last - bins.first);
  std::string path = "M" + rounded(kLeft, 6) + " " + rounded(kHeight - kBottom, 6);
  for (std::size_t i = bins.first; i < bins.last; ++i) {
    const double share = static_cast<double>(series.counts[i]) / all;
    const std::string y = rounded(kHeight - kBottom - (kHeight - kTop - kBottom) * share / bins.most, 6);
    const double x = kLeft + step * static_cast<double>(i - bins.first);
    path += "L" + rounded(x, 6) + " " + y + "L" + rounded(x + step, 6) + " " + y;
  }
  path += "L" + rounded(kWidth - kLeft, 6) + " " + rounded(kHeight - kBottom, 6) + "Z";
  return "<path d='" + path + "' fill='" + colour + "' fill-opacity='0.25' stroke='" + colour +
         "' stroke-width='1.3'><title>" + escape(series.name) + ": " + with_commas(total(series)) +
         "</title></path>";
}

}  // namespace

std::string histogram_chart(const std::vector<HistogramSeries>& series, double low, double high,
                            const std::string& title, const std::vector<double>& cuts) {
  if (series.empty()) return "";
  const Bins bins = used_bins(series);
  if (bins.first >= bins.last) return "";
  const double width = (high - low) / static_cast<double>(series.front().counts.size());
  const auto edge = [&](std::size_t bin) { return rounded(low + width * static_cast<double>(bin), 4); };
  std::string out =
      "<svg class='chart' style='max-width:24rem' viewBox='0 0 360 170' role='img' aria-label='" +
      escape(title) + "'><text x='8' y='14'>" + escape(title) + "</text>";
  double x = kLeft;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const char* colour = kColours[i % kColours.size()];
    out += outline(series[i], bins, colour);
    const std::string name = series[i].name + " (" + with_commas(total(series[i])) + ")";
    out += "<g fill='" + std::string(colour) + "'><text x='" + rounded(x, 6) +
           "' y='29' style='fill:" + colour + "'>" + escape(name) + "</text></g>";
    x += 14 + 6.2 * static_cast<double>(name.size());
  }
  for (const double cut : cuts) {
    const double place = (cut - low) / width - static_cast<double>(bins.first);
    const double at = kLeft + (kWidth - 2 * kLeft) * place / static_cast<double>(bins.last - bins.first);
    if (!(at >= kLeft && at <= kWidth - kLeft)) continue;
    out += "<line class='cut' x1='" + rounded(at, 6) + "' x2='" + rounded(at, 6) + "' y1='" +
           rounded(kTop - 6, 6) + "' y2='" + rounded(kHeight - kBottom, 6) +
           "' stroke='#c0392b' stroke-width='1.5' stroke-dasharray='4 3'><title>cut at " + rounded(cut) +
           "</title></line><text x='" + rounded(at, 6) +
           "' y='165' text-anchor='middle' style='fill:#c0392b'>" + rounded(cut) + "</text>";
  }
  return out + "<text x='8' y='165'>" + edge(bins.first) + "</text><text x='352' y='165' text-anchor='end'>" +
         edge(bins.last) + "</text></svg>";
}

}  // namespace trireme::coordinator::report
