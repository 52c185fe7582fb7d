// Histograms laid over each other as inline SVG, each as shares of its own total, so that groups of different
// size compare. No script, no outside file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::coordinator::report {

struct HistogramSeries {
  std::string name;
  std::vector<std::int64_t> counts;  // equal bins over [low, high]; as many in every series
};

// Empty ends of the range are left out. A line stands at each of `cuts` inside what is left. "" when no
// series has a count.
std::string histogram_chart(const std::vector<HistogramSeries>& series, double low, double high,
                            const std::string& title, const std::vector<double>& cuts = {});

}  // namespace trireme::coordinator::report
