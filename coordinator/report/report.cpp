#include "coordinator/report/report.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include <nlohmann/json.hpp>

#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/report/caption_section.h"
#include "coordinator/report/column_section.h"
#include "coordinator/report/html.h"
#include "coordinator/report/picture_grid.h"
#include "coordinator/report/svg_chart.h"
#include "coordinator/report/timeline.h"
#include "coordinator/report/training_section.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::report {
namespace {

using OrderedJson = nlohmann::ordered_json;  // metrics stay in the order in which they were written

std::string bar(const std::string& label, std::int64_t value, std::int64_t of, bool dropped) {
  const double share = of > 0 ? static_cast<double>(value) / static_cast<double>(of) : 0;
  return "<div" + std::string(dropped ? " class='drop'" : "") + "><b>" + escape(label) +
         "</b><i style='width:" + rounded(24 * share, 4) + "rem'></i><span>" + with_commas(value) +
         " <span class='quiet'>" + rounded(100 * share, 3) + " %</span></span></div>";
}

// Samples that went in, stayed and left, stage by stage and reason by reason.
std::string funnel(const ReportInput& input) {
  std::string out;
  for (const auto& stage : input.stages) {
    const auto found = stage.counts.find("in");
    if (found == stage.counts.end() || found->second == 0) continue;
    const std::int64_t in = found->second;
    out += "<h3>" + escape(stage.name) + "</h3><div class='funnel'>" + bar("in", in, in, false);
    for (const auto& [name, value] : stage.counts)
      if (name.starts_with("dropped.") || name.starts_with("bad.")) out += bar(name, value, in, true);
    for (const auto& [name, value] : stage.counts)
      if (name == "kept") out += bar(name, value, in, false);
    out += "</div>";
  }
  return out.empty() ? "" : "<h2>Samples</h2>" + out;
}

std::string sources(const ReportInput& input) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [data, how] : input.sources) rows.push_back({data, how});
  return rows.empty() ? "" : "<h2>Data</h2>" + table({"data set", "how it is read"}, rows);
}

std::string damaged_shards(const ReportInput& input) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [data, shard, what] : input.damaged) rows.push_back({data, shard, what});
  return rows.empty() ? "" : "<h2>Damaged shards</h2>" + table({"data set", "shard", "bad samples"}, rows);
}

// Accuracy against shots (METHODS 2.6), a line per arm, zero-shot across; "" for other evaluations.
std::string few_shot_chart(const OrderedJson& document, const std::string& stage) {
  if (document.value("task", std::string()) != "few_shot") return "";
  std::vector<Series> arms;
  double last = 1;
  for (const auto& [metric, value] : document["metrics"].items()) {
    const auto at = metric.find("_acc1@");
    if (at == std::string::npos || !value.is_number()) continue;
    const std::string arm = metric.substr(0, at);
    auto found = std::find_if(arms.begin(), arms.end(), [&](const Series& one) { return one.name == arm; });
    if (found == arms.end()) found = arms.insert(arms.end(), Series{arm, {}, false});
    last = std::max(last, std::atof(metric.c_str() + at + 6));
    found->points.emplace_back(std::atof(metric.c_str() + at + 6), value.get<double>());
  }
  for (auto& arm : arms) std::sort(arm.points.begin(), arm.points.end());
  const double zero_shot = document["metrics"].value("zero_shot_acc1", std::nan(""));
  arms.push_back({"zero_shot", {{1, zero_shot}, {last, zero_shot}}, true});
  return line_chart(arms, {.title = "Few-shot: " + stage, .x_label = "shots per class", .y_label = "acc1"});
}

std::string evaluations(const ReportInput& input) {
  std::vector<std::vector<std::string>> rows;
  std::string charts;
  for (const auto& stage : input.stages) {
    const io::Path file = store::RunPaths{input.output}.stage(stage.name) / "evaluation.json";
    if (!io::exists(file)) continue;
    const auto document = OrderedJson::parse(io::read_file(file), nullptr, false);
    if (!document.is_object() || !document.contains("metrics") || !document["metrics"].is_object()) continue;
    charts += few_shot_chart(document, stage.name);
    const OrderedJson chance = document.value("chance", OrderedJson::object());
    for (const auto& [metric, value] : document["metrics"].items())
      rows.push_back({stage.name, document.value("dataset", std::string()), metric,
                      value.is_number() ? rounded(value.get<double>()) : value.dump(),
                      rounded(chance.is_object() && chance.contains(metric) && chance[metric].is_number()
                                  ? chance[metric].get<double>()
                                  : std::nan(""))});
  }
  return rows.empty() ? ""
                      : "<h2>Evaluation</h2>" +
                            table({"stage", "data set", "metric", "value", "chance"}, rows) + charts;
}

std::string stages_table(const ReportInput& input) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& stage : input.stages)
    rows.push_back({stage.name, stage.kind, stage.state,
                    with_commas(stage.tasks_done) + " / " + with_commas(stage.tasks_known),
                    with_commas(stage.tasks_reused)});
  return "<h2>Stages</h2>" + table({"stage", "kind", "state", "tasks", "reused"}, rows);
}

std::string pictures(const ReportInput& input) {
  std::string out;
  for (const auto& stage : input.stages) {
    const std::string grids = picture_grids(stage.thumbnail_files);
    if (!grids.empty()) out += "<h2>Pictures: " + escape(stage.name) + "</h2>" + grids;
  }
  return out;
}

}  // namespace

std::string render_report(const ReportInput& input) {
  std::string out = page_head(input.name);
  out += "<h1>" + escape(input.name) + "</h1><p class='quiet'>job " + escape(input.job_id) + " · <b>" +
         escape(input.state) + "</b>" + (input.cause.empty() ? "" : " · " + escape(input.cause)) +
         " · written " + utc_now() + "</p>";
  out += stages_table(input) + evaluations(input) + funnel(input) + sources(input) + damaged_shards(input) +
         column_sections(input) + caption_sections(input) + training_sections(input) + pictures(input) +
         timeline_section(input.timeline);
  return out + "<h2>Effective job file</h2><details><summary>Show</summary>" + preformatted(input.spec_json) +
         "</details></body></html>\n";
}

void write_report(const ReportInput& input, const io::Path& path) {
  io::write_file_atomic(path, render_report(input), false);
}

}  // namespace trireme::coordinator::report
