#include "coordinator/report/report.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>

#include <nlohmann/json.hpp>

#include "common/base/log.h"
#include "coordinator/report/html.h"
#include "coordinator/report/picture_grid.h"
#include "coordinator/report/svg_chart.h"

namespace trireme::coordinator::report {
namespace {

using nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // metrics stay in the order in which they were written

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--ink:#1d2330;--quiet:#687084;--line:#d8dce5;--paper:#fff;--bar:#2f6fde;--drop:#d9622b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ee;--quiet:#98a0b3;--line:#343b4a;--paper:#151922}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}h3{font-size:1rem}
table{border-collapse:collapse;margin:.6rem 0}th,td{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid var(--line)}
td+td,th+th{text-align:right;font-variant-numeric:tabular-nums}
.quiet{color:var(--quiet)}.chart{width:100%;max-width:44rem;font-size:11px}.chart text{fill:currentColor}.chart .grid{stroke:var(--line)}
div.grid{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0;width:8rem}figure img{width:8rem;height:8rem;object-fit:contain;background:var(--line)}
figcaption{font-size:.75rem;color:var(--quiet);overflow:hidden;text-overflow:ellipsis;display:-webkit-box;-webkit-line-clamp:3;-webkit-box-orient:vertical}
.funnel div{display:flex;align-items:center;gap:.6rem;margin:.15rem 0}.funnel b{width:16rem;font-weight:400}.funnel i{background:var(--bar);height:.9rem;display:block;min-width:1px}
.funnel .drop i{background:var(--drop)}pre{overflow:auto;background:color-mix(in srgb,var(--line) 35%,transparent);padding:.8rem;font-size:.8rem}
)";

std::vector<json> read_rows(const io::Path& path) {
  std::vector<json> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    json row = json::parse(line, nullptr, false);
    if (row.is_object()) rows.push_back(std::move(row));
  }
  return rows;
}

double number(const json& row, const char* name) {
  const auto found = row.find(name);
  return found != row.end() && found->is_number() ? found->get<double>()
                                                  : std::numeric_limits<double>::quiet_NaN();
}

Series series_of(const std::vector<json>& rows, const char* field, const std::string& name) {
  Series out{name, {}, false};
  for (const auto& row : rows) out.points.emplace_back(number(row, "step"), number(row, field));
  return out;
}

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

std::string damaged_shards(const ReportInput& input) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [data, shard, what] : input.damaged) rows.push_back({data, shard, what});
  return rows.empty() ? "" : "<h2>Damaged shards</h2>" + table({"data set", "shard", "bad samples"}, rows);
}

std::string curves(const ReportInput& input) {
  std::string out;
  for (const auto& stage : input.stages) {
    const auto rows = read_rows(input.output / "stages" / stage.name / "log.jsonl");
    if (rows.empty()) continue;
    Series loss = series_of(rows, "loss", "loss");
    loss.faint = true;
    out += "<h2>Training: " + escape(stage.name) + "</h2>";
    out += line_chart({loss, smoothed(loss, static_cast<double>(rows.size()) / 50)},
                      {.title = "Loss", .x_label = "step"});
    out += line_chart({series_of(rows, "learning_rate", "learning rate")},
                      {.title = "Learning rate", .x_label = "step"});
    out += line_chart({series_of(rows, "logit_scale", "logit scale")},
                      {.title = "Logit scale", .x_label = "step", .y_label = "ln(1/temperature)"});
    Series evaluation{"evaluation", {}, false};
    for (const auto& row : rows)
      if (row.contains("evaluation") && row["evaluation"].is_object())
        for (const auto& [metric, value] : row["evaluation"].items())
          if (value.is_number() && (metric == "mean_recall@1" || metric == "acc1")) {
            evaluation.name = metric;
            evaluation.points.emplace_back(number(row, "step"), value.get<double>());
          }
    if (!evaluation.points.empty())
      out += line_chart({evaluation}, {.title = evaluation.name, .x_label = "step"});
  }
  return out;
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
    std::ifstream file(input.output / "stages" / stage.name / "evaluation.json");
    const auto document = OrderedJson::parse(file, nullptr, false);
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

// Who did what when: a row per worker, a span per lease.
std::string timeline(const ReportInput& input) {
  if (input.timeline.empty()) return "";
  double end = 0;
  int workers = 0;
  std::vector<std::string> names;
  for (const auto& span : input.timeline) {
    end = std::max(end, span.end_seconds);
    workers = std::max(workers, span.worker);
    if (std::find(names.begin(), names.end(), span.stage) == names.end()) names.push_back(span.stage);
  }
  std::string out =
      "<h2>Timeline</h2><svg class='chart' viewBox='0 0 640 " + std::to_string(20 + 18 * workers) + "'>";
  for (const auto& span : input.timeline) {
    const auto index =
        static_cast<std::size_t>(std::find(names.begin(), names.end(), span.stage) - names.begin());
    out += "<rect x='" + rounded(20 + 615 * span.start_seconds / end, 6) + "' y='" +
           std::to_string(18 * (span.worker - 1) + 2) + "' width='" +
           rounded(std::max(0.5, 615 * (span.end_seconds - span.start_seconds) / end), 6) +
           "' height='14' fill='hsl(" + std::to_string(index * 137 % 360) + ",60%,50%)'><title>" +
           escape(span.stage) + ", worker " + std::to_string(span.worker) + ": " +
           rounded(span.end_seconds - span.start_seconds, 3) + " s</title></rect>";
  }
  for (int worker = 1; worker <= workers; ++worker)
    out += "<text x='0' y='" + std::to_string(18 * worker - 5) + "'>" + std::to_string(worker) + "</text>";
  return out + "<text x='635' y='" + std::to_string(16 + 18 * workers) + "' text-anchor='end'>" +
         rounded(end, 4) + " s</text></svg>";
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
  std::string out =
      "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width'><title>" +
      escape(input.name) + "</title><style>" + kStyle + "</style></head><body>";
  out += "<h1>" + escape(input.name) + "</h1><p class='quiet'>job " + escape(input.job_id) + " · <b>" +
         escape(input.state) + "</b>" + (input.cause.empty() ? "" : " · " + escape(input.cause)) +
         " · written " + utc_now() + "</p>";
  out += stages_table(input) + evaluations(input) + funnel(input) + damaged_shards(input) + curves(input) +
         pictures(input) + timeline(input);
  out += "<h2>Effective job file</h2><details><summary>Show</summary><pre>";
  for (std::size_t at = 0;
       at < input.spec_json.size();) {  // line by line: escape() cuts what is too long for a cell
    const std::size_t end = std::min(input.spec_json.find('\n', at), input.spec_json.size());
    out += escape(std::string_view(input.spec_json).substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return out + "</pre></details></body></html>\n";
}

void write_report(const ReportInput& input, const io::Path& path) {
  io::write_file_atomic(path, render_report(input), false);
}

}  // namespace trireme::coordinator::report
