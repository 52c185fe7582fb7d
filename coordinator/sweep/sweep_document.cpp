#include "coordinator/sweep/sweep_document.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"

namespace trireme::coordinator::sweep {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kFormat = "trireme-sweep";

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json json_of(const Summary& summary) {
  return {{"n", summary.n},
          {"mean", number(summary.mean)},
          {"spread", number(summary.spread)},
          {"least", number(summary.least)},
          {"most", number(summary.most)},
          {"values", summary.values}};
}

Json json_of(const Metrics& metrics) {
  Json out = Json::object();
  for (const auto& [name, value] : metrics) out[name] = value;
  return out;
}

Json values_of(const Sweep& sweep, const SweepRow& row) {
  Json values = Json::object();
  for (std::size_t a = 0; a < sweep.axes.size(); ++a) values[sweep.axes[a].label] = row.values[a];
  return values;
}

Json rows_json(const Sweep& sweep, const Table& table) {
  Json rows = Json::array();
  for (const auto& row : table.rows) {
    Json one{{"row", row.row.label()}, {"arm", row.row.arm}, {"values", values_of(sweep, row.row)},
             {"runs", row.runs},       {"done", row.done},   {"failed", row.failed}};
    for (std::size_t m = 0; m < table.metrics.size(); ++m)
      one["metrics"][table.metrics[m]] = json_of(row.metrics[m]);
    if (row.against_baseline.summary.n > 0) {
      one["against_baseline"] = json_of(row.against_baseline.summary);
      one["against_baseline"]["wins"] = row.against_baseline.wins;
    }
    rows.push_back(std::move(one));
  }
  return rows;
}

Json runs_json(const Sweep& sweep, const std::vector<RunResult>& results) {
  Json runs = Json::array();
  for (std::size_t i = 0; i < sweep.jobs.size(); ++i) {
    const auto& job = sweep.jobs[i];
    const auto& result = results[i];
    runs.push_back({{"key", job.key},
                    {"name", job.name},
                    {"row", sweep.rows[job.row].label()},
                    {"seed", job.seed},
                    {"state", result.state},
                    {"cause", result.cause},
                    {"job", result.job_id},
                    {"attempt", result.attempt},
                    {"commit", result.commit},
                    {"output", job.job.spec.output},
                    {"seconds", result.seconds},
                    {"tasks_done", result.tasks_done},
                    {"tasks_reused", result.tasks_reused},
                    {"metrics", json_of(result.metrics)}});
  }
  return runs;
}

Json json_of(const Provenance& made) {
  return {{"version", made.version}, {"commit", made.commit},     {"host", made.host},
          {"cpu", made.cpu},         {"cores", made.cores},       {"memory_bytes", made.memory_bytes},
          {"workers", made.workers}, {"devices", made.devices},   {"started", made.started},
          {"updated", utc_now()},    {"sessions", made.sessions}, {"wall_seconds", made.wall_seconds}};
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (const auto& cell : cells) {
    if (!line.empty() || &cell != &cells.front()) line += ',';
    if (cell.find_first_of(",\"\r\n") == std::string::npos) {
      line += cell;
      continue;
    }
    line += '"';
    for (const char c : cell) line += c == '"' ? std::string("\"\"") : std::string(1, c);
    line += '"';
  }
  return line + "\r\n";
}

std::string csv_number(double value) {
  return std::isfinite(value) ? Json(value).dump() : "";
}

std::int64_t count(const std::vector<RunResult>& results, bool (*is)(const RunResult&)) {
  return std::count_if(results.begin(), results.end(), is);
}

// Columns as wide as their widest cell; characters, not bytes.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  const auto width = [](const std::string& text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
  };
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += (i == 0 ? "" : "  ") + row[i] + std::string(widths[i] - width(row[i]), ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string runs_text(const TableRow& row) {
  std::string text = std::to_string(row.done) + "/" + std::to_string(row.runs);
  return row.failed > 0 ? text + ", " + std::to_string(row.failed) + " failed" : text;
}

std::string difference_text(const Difference& difference) {
  if (difference.summary.n == 0) return "";
  char text[96];
  std::snprintf(text, sizeof text, "%+.4f", difference.summary.mean);
  std::string out = text;
  if (difference.summary.n > 1) {
    std::snprintf(text, sizeof text, " ± %.4f", difference.summary.spread);
    out += text;
  }
  return out + " (" + std::to_string(difference.wins) + "/" + std::to_string(difference.summary.n) +
         " higher)";
}

std::vector<std::string> head_cells(const Sweep& sweep) {
  std::vector<std::string> head;
  if (sweep.arms.size() > 1 || !sweep.arms.front().name.empty()) head.emplace_back("arm");
  for (const auto& axis : sweep.axes) head.push_back(axis.label);
  if (head.empty()) head.emplace_back("run");
  return head;
}

std::vector<std::string> row_cells(const Sweep& sweep, const SweepRow& row) {
  std::vector<std::string> cells;
  if (sweep.arms.size() > 1 || !sweep.arms.front().name.empty()) cells.push_back(printable(row.arm, 64));
  for (const auto& value : row.values) cells.push_back(printable(value, 64));
  if (cells.empty()) cells.push_back(row.label());
  return cells;
}

}  // namespace

std::string sweep_json(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table,
                       const Provenance& provenance) {
  std::int64_t reused = 0, tasks = 0;
  for (const auto& result : results) reused += result.tasks_reused, tasks += result.tasks_done;
  Json axes = Json::array();
  for (const auto& axis : sweep.axes) axes.push_back({{"path", axis.path}, {"label", axis.label}});
  const Json document{
      {"format", kFormat},
      {"version", 1},
      {"name", sweep.name},
      {"about", sweep.about},
      {"finished", count(results, [](const RunResult& one) { return one.over(); }) ==
                       static_cast<std::int64_t>(results.size())},
      {"runs_done", count(results, [](const RunResult& one) { return one.state == "SUCCEEDED"; })},
      {"runs_failed", count(results, [](const RunResult& one) { return one.failed(); })},
      {"tasks_done", tasks},
      {"tasks_reused", reused},
      {"main_metric", table.main_metric},
      {"baseline", sweep.baseline},
      {"seeds", sweep.seeds},
      {"axes", axes},
      {"remarks", table.remarks},
      {"made_with", json_of(provenance)},
      {"table", rows_json(sweep, table)},
      {"runs", runs_json(sweep, results)}};
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string table_csv(const Sweep& sweep, const Table& table) {
  std::vector<std::string> head{"arm"};
  for (const auto& axis : sweep.axes) head.push_back(axis.label);
  for (const char* name : {"runs", "done", "failed"}) head.emplace_back(name);
  for (const auto& metric : table.metrics)
    for (const char* part : {" mean", " spread", " n"}) head.push_back(metric + part);
  std::string text = csv_line(head);
  for (const auto& row : table.rows) {
    std::vector<std::string> cells{row.row.arm};
    cells.insert(cells.end(), row.row.values.begin(), row.row.values.end());
    for (const auto value : {row.runs, row.done, row.failed}) cells.push_back(std::to_string(value));
    for (const auto& summary : row.metrics) {
      cells.push_back(csv_number(summary.mean));
      cells.push_back(csv_number(summary.spread));
      cells.push_back(std::to_string(summary.n));
    }
    text += csv_line(cells);
  }
  return text;
}

std::string runs_csv(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table) {
  std::vector<std::string> head{"arm"};
  for (const auto& axis : sweep.axes) head.push_back(axis.label);
  for (const char* name : {"seed", "state", "cause", "seconds", "tasks_done", "tasks_reused", "output"})
    head.emplace_back(name);
  head.insert(head.end(), table.metrics.begin(), table.metrics.end());
  std::string text = csv_line(head);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& job = sweep.jobs[i];
    const auto& row = sweep.rows[job.row];
    const auto& result = results[i];
    std::vector<std::string> cells{row.arm};
    cells.insert(cells.end(), row.values.begin(), row.values.end());
    for (const auto& cell :
         {std::to_string(job.seed), result.state, result.cause, csv_number(result.seconds),
          std::to_string(result.tasks_done), std::to_string(result.tasks_reused), job.job.spec.output})
      cells.push_back(cell);
    for (const auto& metric : table.metrics) {
      const auto found = std::find_if(result.metrics.begin(), result.metrics.end(),
                                      [&](const auto& one) { return one.first == metric; });
      cells.push_back(found == result.metrics.end() ? "" : csv_number(found->second));
    }
    text += csv_line(cells);
  }
  return text;
}

std::string table_text(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table,
                       const Provenance& provenance, std::size_t columns) {
  std::string text;
  const std::size_t shown =
      sweep.metrics.empty() ? std::min(table.metrics.size(), 2 * columns) : table.metrics.size();
  for (std::size_t first = 0; first == 0 || first < shown; first += columns) {
    const std::size_t end = std::min(shown, first + columns);
    std::vector<std::vector<std::string>> rows{head_cells(sweep)};
    rows[0].emplace_back("runs");
    for (std::size_t m = first; m < end; ++m) rows[0].push_back(printable(table.metrics[m], 60));
    const bool compared = first == 0 && !sweep.baseline.empty();
    if (compared) rows[0].push_back("against " + printable(sweep.baseline, 40));
    for (const auto& row : table.rows) {
      rows.push_back(row_cells(sweep, row.row));
      rows.back().push_back(runs_text(row));
      for (std::size_t m = first; m < end; ++m) rows.back().push_back(cell_text(row.metrics[m]));
      if (compared) rows.back().push_back(difference_text(row.against_baseline));
    }
    text += aligned(rows) + "\n";
  }
  text += "mean ± standard deviation over " + std::to_string(sweep.seeds.size()) +
          (sweep.seeds.size() == 1 ? " seed" : " seeds") + "\n";
  if (shown < table.metrics.size())
    text += std::to_string(table.metrics.size() - shown) + " more metrics are in sweep.csv and report.html\n";
  for (const auto& remark : table.remarks) text += printable(remark, 300) + "\n";
  for (std::size_t i = 0; i < results.size(); ++i)
    if (results[i].failed())
      text += results[i].state + " " + sweep.rows[sweep.jobs[i].row].label() + ", seed " +
              std::to_string(sweep.jobs[i].seed) + ": " + printable(results[i].cause, 400) + "\n";
  text += "trireme " + provenance.version + " (" + provenance.commit + ") on " +
          printable(provenance.host, 80) + ": " + printable(provenance.cpu, 80) + ", " +
          std::to_string(provenance.cores) + " cores, " + std::to_string(provenance.workers) +
          (provenance.workers == 1 ? " worker" : " workers") + ", " +
          std::to_string(std::llround(provenance.wall_seconds)) + " s in all\n";
  const std::string mixed = commit_remark(results, provenance);
  return mixed.empty() ? text : text + mixed + "\n";
}

Remembered read_remembered(const io::Path& sweep_json_file) {
  Remembered out;
  if (!io::exists(sweep_json_file)) return out;
  try {
    const auto document = Json::parse(io::read_file(sweep_json_file, 256U << 20));
    if (document.at("format") != kFormat || document.at("version") != 1) return {};
    const auto& made = document.at("made_with");
    made.at("started").get_to(out.started);
    made.at("sessions").get_to(out.sessions);
    made.at("wall_seconds").get_to(out.wall_seconds);
    for (const auto& run : document.at("runs")) {
      RunResult result;
      run.at("state").get_to(result.state);
      run.at("cause").get_to(result.cause);
      run.at("job").get_to(result.job_id);
      run.at("commit").get_to(result.commit);
      run.at("attempt").get_to(result.attempt);
      run.at("seconds").get_to(result.seconds);
      run.at("tasks_done").get_to(result.tasks_done);
      run.at("tasks_reused").get_to(result.tasks_reused);
      for (const auto& [name, value] : run.at("metrics").items())
        result.metrics.emplace_back(name, value.get<double>());
      out.results[run.at("key").get<std::string>()] = std::move(result);
    }
  } catch (const std::exception& error) {
    log_warning("sweep", sweep_json_file.string() + " cannot be read and is written anew: " + error.what());
    return {};
  }
  return out;
}

std::string commit_remark(const std::vector<RunResult>& results, const Provenance& provenance) {
  std::set<std::string> commits;
  for (const auto& result : results)
    if (result.state == "SUCCEEDED" && !result.commit.empty()) commits.insert(result.commit);
  commits.erase(provenance.commit);
  if (commits.empty()) return "";
  std::string text = "some runs were made at other commits:";
  for (const auto& commit : commits) text += " " + printable(commit, 60);
  return text + " (a fresh output folder runs them all again)";
}

}  // namespace trireme::coordinator::sweep
