#include "coordinator/report/training_section.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/report/histogram.h"
#include "coordinator/report/html.h"
#include "coordinator/report/svg_chart.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::report {
namespace {

using json = nlohmann::ordered_json;

std::vector<json> read_rows(const io::Path& path) {
  std::vector<json> rows;
  io::LineReader file(path);
  for (std::string line; file.next(line);) {
    json row = json::parse(line, nullptr, false);
    if (row.is_object()) rows.push_back(std::move(row));
  }
  return rows;
}

double number(const json& row, const std::string& name) {
  const auto found = row.find(name);
  return found != row.end() && found->is_number() ? found->get<double>()
                                                  : std::numeric_limits<double>::quiet_NaN();
}

Series series_of(const std::vector<json>& rows, const char* field, const std::string& name) {
  Series out{name, {}, false, {}};
  for (const auto& row : rows) out.points.emplace_back(number(row, "step"), number(row, field));
  return out;
}

// A line per member of the object `field` whose name begins with `prefix`.
std::vector<Series> members_of(const std::vector<json>& rows, const char* field, const std::string& prefix) {
  std::vector<Series> lines;
  for (const auto& row : rows) {
    const auto found = row.find(field);
    if (found == row.end() || !found->is_object()) continue;
    for (const auto& [name, value] : found->items()) {
      if (!name.starts_with(prefix) || !value.is_number()) continue;
      auto line = std::find_if(lines.begin(), lines.end(),
                               [&, &key = name](const Series& one) { return one.name == key; });
      if (line == lines.end()) line = lines.insert(lines.end(), Series{name, {}, false, {}});
      line->points.emplace_back(number(row, "step"), value.get<double>());
    }
  }
  return lines;
}

std::string chart_of_members(const std::vector<json>& rows, const char* field, const std::string& prefix,
                             const std::string& title) {
  const auto lines = members_of(rows, field, prefix);
  return lines.empty() ? "" : line_chart(lines, {.title = title, .x_label = "step"});
}

std::string temperature_chart(const std::vector<json>& rows) {
  Series temperature{"temperature", {}, false, {}};
  for (const auto& row : rows)
    temperature.points.emplace_back(number(row, "step"), std::exp(-number(row, "logit_scale")));
  const auto [least, most] =
      std::ranges::minmax_element(temperature.points, {}, [](const auto& point) { return point.second; });
  if (temperature.points.empty() || least->second == most->second) return "";  // fixed, or there is none
  return line_chart({temperature}, {.title = "Temperature", .x_label = "step"});
}

std::string evaluation_chart(const std::vector<json>& rows) {
  Series evaluation{"evaluation", {}, false, {}};
  for (const auto& row : rows)
    if (row.contains("evaluation") && row["evaluation"].is_object())
      for (const auto& [metric, value] : row["evaluation"].items())
        if (value.is_number() && (metric == "mean_recall@1" || metric == "acc1" || metric == "token_loss")) {
          evaluation.name = metric;
          evaluation.points.emplace_back(number(row, "step"), value.get<double>());
        }
  return evaluation.points.empty() ? ""
                                   : line_chart({evaluation}, {.title = evaluation.name, .x_label = "step"});
}

std::string curves(const std::vector<json>& rows) {
  Series loss = series_of(rows, "loss", "loss");
  loss.faint = true;
  return line_chart({loss, smoothed(loss, static_cast<double>(rows.size()) / 50)},
                    {.title = "Loss", .x_label = "step"}) +
         chart_of_members(rows, "parts", "", "Parts of the loss") +
         line_chart({series_of(rows, "learning_rate", "learning rate")},
                    {.title = "Learning rate", .x_label = "step"}) +
         temperature_chart(rows) +
         chart_of_members(rows, "gates", "mean_", "ALIP: mean weights of the gates") +
         chart_of_members(rows, "gates", "h_", "ALIP: running mean similarities H") + evaluation_chart(rows);
}

std::vector<std::int64_t> counts_of(const json& histogram, const char* group) {
  std::vector<std::int64_t> counts;
  const auto found = histogram.find(group);
  if (found == histogram.end() || !found->is_array()) return counts;
  for (const auto& count : *found)
    counts.push_back(count.is_number_integer() ? count.get<std::int64_t>() : 0);
  return counts;
}

std::string histogram_of(const json& histogram) {
  const std::string name = histogram.value("name", std::string("?"));
  const double low = number(histogram, "low"), high = number(histogram, "high");
  if (!(low < high)) return "";
  std::vector<HistogramSeries> groups;
  for (const char* group : {"clean", "corrupted"})
    if (auto counts = counts_of(histogram, group); !counts.empty())
      groups.push_back({group, std::move(counts)});
  if (groups.empty())
    if (auto counts = counts_of(histogram, "all"); !counts.empty())
      groups.push_back({"all", std::move(counts)});
  if (groups.empty() || !std::all_of(groups.begin(), groups.end(), [&](const auto& group) {
        return group.counts.size() == groups.front().counts.size();
      }))
    return "";
  const double auc = number(histogram, "auc");
  return histogram_chart(groups, low, high, name + (std::isfinite(auc) ? ", AUC " + rounded(auc) : ""));
}

std::string signals(const io::Path& path) {
  if (!io::exists(path)) return "";
  const auto document = json::parse(io::read_file(path), nullptr, false);
  if (!document.is_object() || !document.contains("histograms") || !document["histograms"].is_array())
    return "";
  std::string out;
  for (const auto& histogram : document["histograms"])
    if (histogram.is_object()) out += histogram_of(histogram);
  if (out.empty()) return "";
  return "<h3>Last epoch: similarities" +
         std::string(document.value("gated", false) ? " and gate weights" : "") +
         "</h3><p class='quiet'>shares of each group; AUC: how often a clean pair has the higher value than "
         "a "
         "corrupted one</p><div class='grid'>" +
         out + "</div>";
}

}  // namespace

std::string training_sections(const ReportInput& input) {
  std::string out;
  for (const auto& stage : input.stages) {
    const io::Path folder = store::RunPaths{input.output}.stage(stage.name);
    const auto rows = read_rows(folder / "log.jsonl");
    const std::string histograms = signals(folder / "signals.json");
    if (rows.empty() && histograms.empty()) continue;
    out += "<h2>Training: " + escape(stage.name) + "</h2>";
    if (!rows.empty()) out += curves(rows);
    out += histograms;
  }
  return out;
}

}  // namespace trireme::coordinator::report
