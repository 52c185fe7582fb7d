#include "coordinator/report/column_section.h"

#include <algorithm>
#include <map>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "coordinator/report/histogram.h"
#include "coordinator/report/html.h"

namespace trireme::coordinator::report {
namespace {

using nlohmann::json;

constexpr std::size_t kMostFiles = 64, kBins = 48;

// Column -> its numbers.
std::map<std::string, std::vector<double>> numbers_in(const std::vector<std::string>& facts_files) {
  std::map<std::string, std::vector<double>> found;
  const std::size_t stride = (facts_files.size() + kMostFiles - 1) / kMostFiles;
  for (std::size_t i = 0; i < facts_files.size(); i += stride) {
    io::LineReader file(facts_files[i]);
    for (std::string line; file.next(line);) {
      if (line.find("\"columns\"") == std::string::npos) continue;
      const json row = json::parse(line, nullptr, false);
      if (!row.is_object() || !row.contains("columns") || !row["columns"].is_object()) continue;
      for (const auto& [name, value] : row["columns"].items())
        if (value.is_number()) found[name].push_back(value.get<double>());
    }
  }
  return found;
}

std::string chart_of(const std::string& name, const std::vector<double>& numbers) {
  const auto [least, most] = std::ranges::minmax(numbers);
  if (!(least < most)) return "";
  HistogramSeries all{"all", std::vector<std::int64_t>(kBins, 0)};
  for (const double number : numbers)
    ++all.counts[std::min(
        kBins - 1, static_cast<std::size_t>((number - least) / (most - least) * static_cast<double>(kBins)))];
  return histogram_chart({all}, least, most,
                         name + ", " + with_commas(static_cast<std::int64_t>(numbers.size())) + " samples");
}

}  // namespace

std::string column_sections(const ReportInput& input) {
  std::string out;
  for (const auto& stage : input.stages) {
    std::string charts;
    for (const auto& [name, numbers] : numbers_in(stage.facts_files)) charts += chart_of(name, numbers);
    if (!charts.empty()) out += "<h2>Columns: " + escape(stage.name) + "</h2>" + charts;
  }
  return out;
}

}  // namespace trireme::coordinator::report
