// The metric catalog: every name, type, unit (in the name), help and label set in one place
// (RELIABILITY 6.2). Only metrics of what exists. `rank` is a constant label of a worker's exporter and not
// listed.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace trireme::telemetry {

enum class MetricType { kCounter, kGauge, kHistogram };

struct MetricInfo {
  std::string_view name;
  MetricType type;
  std::string_view help;
  std::vector<std::string_view> labels = {};
  std::vector<double> buckets = {};  // histograms
};

const std::vector<MetricInfo>& catalog();

}  // namespace trireme::telemetry
