#include "coordinator/report/column_section.h"

#include <algorithm>
#include <cmath>
#include <functional>
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

// Where the stage's rules cut the column: least and most, and of a top_fraction the least number kept here.
std::vector<double> cuts_of(const json& spec, const std::string& stage, const std::string& column,
                            std::vector<double> numbers) {
  std::vector<double> cuts;
  const json stages =
      spec.is_object() && spec.contains("spec") ? spec["spec"].value("stages", json::array()) : json();
  for (const auto& one : stages) {
    if (!one.is_object() || one.value("name", std::string()) != stage) continue;
    for (const auto& rule : one.value("columns", json::array())) {
      if (!rule.is_object() || rule.value("name", std::string()) != column) continue;
      for (const char* end : {"least", "most"})
        if (rule.contains(end) && rule[end].is_number()) cuts.push_back(rule[end].get<double>());
      if (!rule.contains("top_fraction") || !rule["top_fraction"].is_number()) continue;
      const double kept = std::ceil(rule["top_fraction"].get<double>() * static_cast<double>(numbers.size()));
      if (kept < 1) continue;
      const auto at = numbers.begin() +
                      static_cast<std::ptrdiff_t>(std::min(static_cast<std::size_t>(kept), numbers.size())) -
                      1;
      std::nth_element(numbers.begin(), at, numbers.end(), std::greater<>());
      cuts.push_back(*at);
    }
  }
  return cuts;
}

std::string chart_of(const std::string& name, const std::vector<double>& numbers,
                     const std::vector<double>& cuts) {
  const auto [least, most] = std::ranges::minmax(numbers);
  if (!(least < most)) return "";
  HistogramSeries all{"all", std::vector<std::int64_t>(kBins, 0)};
  for (const double number : numbers)
    ++all.counts[std::min(
        kBins - 1, static_cast<std::size_t>((number - least) / (most - least) * static_cast<double>(kBins)))];
  return histogram_chart({all}, least, most,
                         name + ", " + with_commas(static_cast<std::int64_t>(numbers.size())) + " samples",
                         cuts);
}

}  // namespace

std::string column_sections(const ReportInput& input) {
  std::string out;
  const json spec = json::parse(input.spec_json, nullptr, false);
  for (const auto& stage : input.stages) {
    std::string charts;
    for (const auto& [name, numbers] : numbers_in(stage.facts_files))
      charts += chart_of(name, numbers, cuts_of(spec, stage.name, name, numbers));
    if (!charts.empty()) out += "<h2>Columns: " + escape(stage.name) + "</h2>" + charts;
  }
  return out;
}

}  // namespace trireme::coordinator::report
