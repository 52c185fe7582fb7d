#include "coordinator/sweep/sweep_page.h"

#include <algorithm>
#include <cmath>

#include "common/base/log.h"
#include "coordinator/report/dot_chart.h"
#include "coordinator/report/html.h"
#include "coordinator/report/svg_chart.h"
#include "coordinator/sweep/shot_curves.h"

namespace trireme::coordinator::sweep {
namespace {

using report::escape;

constexpr const char* kMoreStyle =
    "table{display:block;overflow-x:auto}td{white-space:nowrap}tr.main "
    "td{font-weight:600}.failed{color:var(--drop)}";

// The first axis whose values are numbers, with two or more of them; -1: none.
int number_axis(const Sweep& sweep) {
  for (std::size_t a = 0; a < sweep.axes.size(); ++a)
    if (sweep.axes[a].numbers && sweep.axes[a].values.size() > 1) return static_cast<int>(a);
  return -1;
}

// Rows that differ on `axis` alone make a line.
std::string line_of(const SweepRow& row, std::size_t axis) {
  std::string text = row.arm;
  for (std::size_t a = 0; a < row.values.size(); ++a)
    if (a != axis) text += (text.empty() ? "" : ", ") + row.values[a];
  return text.empty() ? "mean" : text;
}

std::string chart_over(const Sweep& sweep, const Table& table, std::size_t axis, std::size_t metric) {
  std::vector<report::Series> lines;
  for (const auto& row : table.rows) {
    const std::string name = line_of(row.row, axis);
    auto found =
        std::find_if(lines.begin(), lines.end(), [&](const auto& line) { return line.name == name; });
    if (found == lines.end()) found = lines.insert(lines.end(), report::Series{name, {}, false, {}});
    found->points.emplace_back(row.row.numbers[axis], row.metrics[metric].mean);
    found->spread.push_back(row.metrics[metric].spread);
  }
  for (auto& line : lines) {
    std::vector<std::pair<std::pair<double, double>, double>> both;
    for (std::size_t i = 0; i < line.points.size(); ++i) both.emplace_back(line.points[i], line.spread[i]);
    std::sort(both.begin(), both.end());
    for (std::size_t i = 0; i < both.size(); ++i)
      line.points[i] = both[i].first, line.spread[i] = both[i].second;
  }
  return report::line_chart(lines, {.title = table.metrics[metric],
                                    .x_label = sweep.axes[axis].label,
                                    .y_label = "mean ± standard deviation"});
}

std::string chart_of(const Sweep& sweep, const Table& table, std::size_t metric) {
  if (const int axis = number_axis(sweep); axis >= 0)
    return chart_over(sweep, table, static_cast<std::size_t>(axis), metric);
  std::vector<report::DotRow> rows;
  for (const auto& row : table.rows)
    rows.push_back(
        {row.row.label(), row.metrics[metric].mean, row.metrics[metric].spread, row.metrics[metric].values});
  return report::dot_chart(rows, table.metrics[metric]);
}

std::string table_html(const Sweep& sweep, const Table& table) {
  std::vector<std::string> head{"row", "runs"};
  for (const auto& metric : table.metrics) head.push_back(metric);
  const bool compared = !sweep.baseline.empty();
  if (compared) head.insert(head.begin() + 2, table.main_metric + " against " + sweep.baseline);
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : table.rows) {
    std::vector<std::string> cells{row.row.label(),
                                   std::to_string(row.done) + "/" + std::to_string(row.runs) +
                                       (row.failed > 0 ? ", " + std::to_string(row.failed) + " failed" : "")};
    if (compared) {
      const auto& difference = row.against_baseline;
      cells.push_back(difference.summary.n == 0
                          ? ""
                          : cell_text(difference.summary) + " (" + std::to_string(difference.wins) + "/" +
                                std::to_string(difference.summary.n) + " higher)");
    }
    for (const auto& summary : row.metrics) cells.push_back(cell_text(summary));
    rows.push_back(std::move(cells));
  }
  return report::table(head, rows);
}

std::string runs_html(const Sweep& sweep, const std::vector<RunResult>& results) {
  std::string out =
      "<table><thead><tr><th>run</th><th>seed</th><th>state</th><th>seconds</th><th>tasks</th>"
      "<th>reused</th><th>commit</th></tr></thead><tbody>";
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& job = sweep.jobs[i];
    const auto& result = results[i];
    out += "<tr><td><a href='jobs/" + escape(job.name) + "/report.html'>" +
           escape(sweep.rows[job.row].label()) + "</a></td><td>" + std::to_string(job.seed) + "</td><td" +
           (result.failed() ? " class='failed'" : "") + ">" + escape(result.state) +
           (result.cause.empty() ? "" : ": " + escape(result.cause)) + "</td><td>" +
           report::rounded(result.seconds, 4) + "</td><td>" + report::with_commas(result.tasks_done) +
           "</td><td>" + report::with_commas(result.tasks_reused) + "</td><td>" + escape(result.commit) +
           "</td></tr>";
  }
  return out + "</tbody></table>";
}

std::string provenance_html(const Provenance& made, const std::vector<RunResult>& results) {
  std::string devices;
  for (const auto& device : made.devices) devices += (devices.empty() ? "" : ", ") + device;
  std::vector<std::vector<std::string>> rows{
      {"commit", made.commit},
      {"version", made.version},
      {"machine", made.host + ": " + made.cpu + ", " + std::to_string(made.cores) + " cores, " +
                      report::rounded(static_cast<double>(made.memory_bytes) / (1U << 30), 3) + " GiB"},
      {"workers", std::to_string(made.workers) + (devices.empty() ? "" : " (" + devices + ")")},
      {"started", made.started},
      {"wall time", report::rounded(made.wall_seconds, 5) + " s in " + std::to_string(made.sessions) +
                        (made.sessions == 1 ? " session" : " sessions")}};
  const std::string mixed = commit_remark(results, made);
  return report::table({"made with", ""}, rows) +
         (mixed.empty() ? "" : "<p class='failed'>" + escape(mixed) + "</p>");
}

}  // namespace

std::string sweep_page(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table,
                       const Provenance& provenance) {
  const auto done = std::count_if(results.begin(), results.end(),
                                  [](const RunResult& one) { return one.state == "SUCCEEDED"; });
  const auto failed =
      std::count_if(results.begin(), results.end(), [](const RunResult& one) { return one.failed(); });
  std::string out = report::page_head(sweep.name, kMoreStyle);
  out += "<h1>" + escape(sweep.name) + "</h1><p class='quiet'>sweep · <b>" + std::to_string(done) + " of " +
         std::to_string(results.size()) + " runs done" +
         (failed > 0 ? ", <span class='failed'>" + std::to_string(failed) + " failed</span>" : "") +
         "</b> · written " + utc_now() + "</p>";
  if (!sweep.about.empty()) out += "<p>" + escape(sweep.about) + "</p>";
  if (!table.metrics.empty()) out += "<h2>" + escape(table.main_metric) + "</h2>" + chart_of(sweep, table, 0);
  if (const std::string curves = shot_curves(table); !curves.empty()) out += "<h2>Few-shot</h2>" + curves;
  out += "<h2>Table</h2>" + table_html(sweep, table) + "<p class='quiet'>mean ± standard deviation over " +
         std::to_string(sweep.seeds.size()) + " seeds</p>";
  for (const auto& remark : table.remarks) out += "<p class='failed'>" + escape(remark) + "</p>";
  if (table.metrics.size() > 1) {
    out += "<details><summary>Charts of the other metrics</summary>";
    for (std::size_t m = 1; m < table.metrics.size(); ++m) out += chart_of(sweep, table, m);
    out += "</details>";
  }
  out += "<h2>Runs</h2>" + runs_html(sweep, results) + provenance_html(provenance, results);
  return out + "<h2>Sweep file</h2><details><summary>Show</summary>" + report::preformatted(sweep.text) +
         "</details></body></html>\n";
}

}  // namespace trireme::coordinator::sweep
