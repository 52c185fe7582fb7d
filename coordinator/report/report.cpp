#include "coordinator/report/report.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

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

// Samples that stayed and left, by reason, of the stages that can lose some; the table of stages tells of all
// how many went in.
std::string funnel(const ReportInput& input) {
  std::string out;
  for (const auto& stage : input.stages) {
    const auto found = stage.counts.find("in");
    const bool loses = std::ranges::any_of(stage.counts, [](const auto& count) {
      return count.first == "kept" || count.first.starts_with("dropped.") || count.first.starts_with("bad.");
    });
    if (found == stage.counts.end() || found->second == 0 || !loses) continue;
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

struct Evaluation {
  std::string stage;
  OrderedJson document;

  double number(const char* member, const std::string& metric) const {
    const auto values = document.find(member);
    if (values == document.end() || !values->is_object()) return std::nan("");
    const auto value = values->find(metric);
    return value != values->end() && value->is_number() ? value->get<double>() : std::nan("");
  }
  double value(const std::string& metric) const { return number("metrics", metric); }
};

// Those of one task on one data set stand side by side: the arms of the job.
struct Arms {
  std::string task, dataset;
  std::vector<Evaluation> each;
  std::vector<std::string> metrics;  // of any of them, in the order written
};

std::vector<Arms> arms_of(const ReportInput& input) {
  std::vector<Arms> all;
  for (const auto& stage : input.stages) {
    const io::Path file = store::RunPaths{input.output}.stage(stage.name) / "evaluation.json";
    if (!io::exists(file)) continue;
    const auto document = OrderedJson::parse(io::read_file(file), nullptr, false);
    if (!document.is_object() || !document.contains("metrics") || !document["metrics"].is_object()) continue;
    const auto task = document.value("task", std::string()),
               dataset = document.value("dataset", std::string());
    auto arms = std::find_if(all.begin(), all.end(),
                             [&](const Arms& one) { return one.task == task && one.dataset == dataset; });
    if (arms == all.end()) arms = all.insert(all.end(), Arms{task, dataset, {}, {}});
    arms->each.push_back({stage.name, document});
    for (const auto& [metric, value] : document["metrics"].items())
      if (std::find(arms->metrics.begin(), arms->metrics.end(), metric) == arms->metrics.end())
        arms->metrics.push_back(metric);
  }
  return all;
}

// Position of the best arm; none where fewer than two have a number, or all the same.
std::optional<std::size_t> best_arm(const Arms& arms, const std::string& metric) {
  const double sign =
      metric.find("loss") == std::string::npos && metric.find("perplexity") == std::string::npos ? 1 : -1;
  std::optional<std::size_t> best;
  double least = INFINITY, most = -INFINITY;
  for (std::size_t i = 0; i < arms.each.size(); ++i) {
    const double value = sign * arms.each[i].value(metric);
    if (std::isnan(value)) continue;
    if (value > most) best = i;
    most = std::max(most, value);
    least = std::min(least, value);
  }
  return least < most ? best : std::nullopt;
}

std::string difference(double value, double to) {
  const double by = value - to;
  return std::isnan(by) ? "" : (by < 0 ? "−" : "+") + rounded(std::abs(by), 3);
}

std::string arms_table(const Arms& arms) {
  std::string out = "<h3>" + escape(arms.task + (arms.dataset.empty() ? "" : " on " + arms.dataset)) +
                    "</h3><table class='arms'><thead><tr><th>metric</th>";
  for (const auto& one : arms.each) out += "<th>" + escape(one.stage) + "</th>";
  out += "<th>chance</th></tr></thead><tbody>";
  for (const auto& metric : arms.metrics) {
    const auto best = best_arm(arms, metric);
    const double first = arms.each.front().value(metric);
    double chance = std::nan("");
    out += "<tr><td>" + escape(metric) + "</td>";
    for (std::size_t i = 0; i < arms.each.size(); ++i) {
      const double value = arms.each[i].value(metric);
      if (std::isnan(chance)) chance = arms.each[i].number("chance", metric);
      out += std::string(best == i ? "<td class='best'>" : "<td>") + rounded(value) +
             (i == 0 ? "" : " <small class='quiet'>" + difference(value, first) + "</small>") + "</td>";
    }
    out += "<td class='quiet'>" + rounded(chance) + "</td></tr>";
  }
  return out + "</tbody></table>";
}

std::string evaluations(const std::vector<Arms>& all) {
  std::string out, charts;
  for (const auto& arms : all) {
    out += arms_table(arms);
    for (const auto& one : arms.each) charts += few_shot_chart(one.document, one.stage);
  }
  return out.empty() ? "" : "<h2>Evaluation</h2>" + out + charts;
}

// What the job bought, in a line: what was kept, and for each evaluation its chief number with the arm that
// has the best.
std::string headline(const ReportInput& input, const std::vector<Arms>& all) {
  std::vector<std::string> parts;
  for (const auto& stage : input.stages) {
    const auto in = stage.counts.find("in"), kept = stage.counts.find("kept");
    if (in == stage.counts.end() || kept == stage.counts.end() || in->second < 1) continue;
    const double share = 100 * static_cast<double>(kept->second) / static_cast<double>(in->second);
    parts.push_back("<b>" + rounded(share, 3) + " %</b> of " + with_commas(in->second) + " samples kept by " +
                    escape(stage.name));
  }
  for (const auto& arms : all) {
    if (arms.metrics.empty()) continue;
    std::string chief = arms.metrics.front();
    for (const char* metric : {"mean_recall@1", "acc1", "CIDEr"})
      if (std::find(arms.metrics.begin(), arms.metrics.end(), metric) != arms.metrics.end()) chief = metric;
    const auto best = best_arm(arms, chief);
    const Evaluation& told = arms.each[best.value_or(0)];
    std::string part = escape(chief + (arms.dataset.empty() ? "" : " on " + arms.dataset)) + ": <b>" +
                       rounded(told.value(chief)) + "</b>";
    if (arms.each.size() > 1) part += " by " + escape(told.stage);
    if (best.value_or(0) > 0)
      part += " (" + difference(told.value(chief), arms.each.front().value(chief)) + " to " +
              escape(arms.each.front().stage) + ")";
    parts.push_back(std::move(part));
  }
  std::string out;
  for (const auto& part : parts) out += (out.empty() ? "" : " · ") + part;
  return out.empty() ? "" : "<p class='bought'>" + out + "</p>";
}

std::string stages_table(const ReportInput& input) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& stage : input.stages) {
    const auto in = stage.counts.find("in");
    rows.push_back({stage.name, stage.kind, stage.state,
                    with_commas(stage.tasks_done) + " / " + with_commas(stage.tasks_known),
                    with_commas(stage.tasks_reused),
                    in == stage.counts.end() ? "" : with_commas(in->second)});
  }
  return "<h2>Stages</h2>" + table({"stage", "kind", "state", "tasks", "reused", "samples in"}, rows);
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
  const auto arms = arms_of(input);
  std::string out =
      page_head(input.name, ".best{font-weight:700;background:#2a9d6322}.bought{font-size:1.15rem}");
  out += "<h1>" + escape(input.name) + "</h1><p class='quiet'>job " + escape(input.job_id) + " · <b>" +
         escape(input.state) + "</b>" + (input.cause.empty() ? "" : " · " + escape(input.cause)) +
         " · written " + utc_now() + "</p>" + headline(input, arms);
  out += stages_table(input) + evaluations(arms) + funnel(input) + sources(input) + damaged_shards(input) +
         column_sections(input) + caption_sections(input) + training_sections(input) + pictures(input) +
         timeline_section(input.timeline);
  return out + "<h2>Effective job file</h2><details><summary>Show</summary>" + preformatted(input.spec_json) +
         "</details></body></html>\n";
}

void write_report(const ReportInput& input, const io::Path& path) {
  io::write_file_atomic(path, render_report(input));
}

}  // namespace trireme::coordinator::report
