#include "coordinator/sweep/sweep_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::sweep {
namespace {

using Json = nlohmann::ordered_json;  // metrics stay in the order in which they were written

std::optional<double> value_of(const Metrics& metrics, const std::string& name) {
  for (const auto& [known, value] : metrics)
    if (known == name) return value;
  return std::nullopt;
}

std::vector<std::string> known_metrics(const std::vector<RunResult>& results) {
  std::vector<std::string> names;
  for (const auto& result : results)
    for (const auto& [name, value] : result.metrics)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  return names;
}

std::string choose_main(const Sweep& sweep, const std::vector<std::string>& columns) {
  if (!sweep.main_metric.empty()) return sweep.main_metric;
  for (const char* usual : {".mean_recall@1", ".acc1"})
    for (const auto& name : columns)
      if (name.ends_with(usual)) return name;
  return columns.empty() ? "" : columns.front();
}

// The baseline's row at the same point of the grid.
std::optional<std::size_t> baseline_of(const Sweep& sweep, std::size_t row) {
  if (sweep.baseline.empty() || sweep.rows[row].arm == sweep.baseline) return std::nullopt;
  for (std::size_t i = 0; i < sweep.rows.size(); ++i)
    if (sweep.rows[i].arm == sweep.baseline && sweep.rows[i].values == sweep.rows[row].values) return i;
  return std::nullopt;
}

class TableMaker {
 public:
  TableMaker(const Sweep& sweep, const std::vector<RunResult>& results) : sweep_(sweep), results_(results) {}

  Table make() {
    const auto known = known_metrics(results_);
    table_.metrics = sweep_.metrics.empty() ? known : sweep_.metrics;
    table_.main_metric = choose_main(sweep_, table_.metrics);
    if (!table_.main_metric.empty()) {
      std::erase(table_.metrics, table_.main_metric);
      table_.metrics.insert(table_.metrics.begin(), table_.main_metric);
    }
    for (std::size_t row = 0; row < sweep_.rows.size(); ++row) add_row(row);
    if (!known.empty()) remark_on_absent(known);
    return std::move(table_);
  }

 private:
  void add_row(std::size_t row);
  Difference difference(std::size_t row, std::size_t baseline) const;
  void remark_on_absent(const std::vector<std::string>& known);

  const Sweep& sweep_;
  const std::vector<RunResult>& results_;
  Table table_;
};

void TableMaker::add_row(std::size_t row) {
  TableRow made{sweep_.rows[row], 0, 0, 0, {}, {}};
  std::vector<std::vector<double>> values(table_.metrics.size());
  for (std::size_t i = 0; i < sweep_.jobs.size(); ++i) {
    if (sweep_.jobs[i].row != row) continue;
    ++made.runs;
    made.done += results_[i].state == "SUCCEEDED" ? 1 : 0;
    made.failed += results_[i].failed() ? 1 : 0;
    for (std::size_t m = 0; m < values.size(); ++m)
      if (const auto value = value_of(results_[i].metrics, table_.metrics[m])) values[m].push_back(*value);
  }
  for (auto& of_metric : values) made.metrics.push_back(summary_of(std::move(of_metric)));
  if (const auto baseline = baseline_of(sweep_, row)) made.against_baseline = difference(row, *baseline);
  table_.rows.push_back(std::move(made));
}

Difference TableMaker::difference(std::size_t row, std::size_t baseline) const {
  Difference out;
  std::vector<double> differences;
  for (std::size_t i = 0; i < sweep_.jobs.size(); ++i) {
    if (sweep_.jobs[i].row != row) continue;
    for (std::size_t k = 0; k < sweep_.jobs.size(); ++k) {
      if (sweep_.jobs[k].row != baseline || sweep_.jobs[k].seed != sweep_.jobs[i].seed) continue;
      const auto mine = value_of(results_[i].metrics, table_.main_metric),
                 theirs = value_of(results_[k].metrics, table_.main_metric);
      if (mine && theirs) differences.push_back(*mine - *theirs);
    }
  }
  out.wins = std::count_if(differences.begin(), differences.end(), [](double value) { return value > 0; });
  out.summary = summary_of(std::move(differences));
  return out;
}

void TableMaker::remark_on_absent(const std::vector<std::string>& known) {
  for (const auto& name : table_.metrics) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest_name(name, known);
    table_.remarks.push_back("no run has the metric \"" + name + "\"" +
                             (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
  }
}

}  // namespace

Metrics metrics_of(const jobs::JobSpec& job) {
  Metrics metrics;
  for (const char* name : {"evaluation.json", "signals.json"})
    for (const auto& stage : job.spec.stages) {
      const io::Path file = store::RunPaths{job.spec.output}.stage(stage.name) / name;
      if (!io::exists(file)) continue;
      const auto document = Json::parse(io::read_file(file, 64U << 20), nullptr, false);
      if (!document.is_object()) throw Error(ErrorKind::kDamaged, file.string() + " is not a JSON object");
      const auto found = document.find("metrics");
      if (found == document.end() || !found->is_object()) continue;
      for (const auto& [metric, value] : found->items())
        if (value.is_number() && std::isfinite(value.get<double>()))
          metrics.emplace_back(stage.name + "." + metric, value.get<double>());
    }
  return metrics;
}

Summary summary_of(std::vector<double> values) {
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  Summary out{static_cast<std::int64_t>(values.size()), kNothing, kNothing, kNothing, kNothing, {}};
  if (!values.empty()) {
    const auto count = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    for (const double value : values) sum += value;
    out.mean = sum / count;
    for (const double value : values) squares += (value - out.mean) * (value - out.mean);
    if (values.size() > 1) out.spread = std::sqrt(squares / (count - 1));
    out.least = *std::min_element(values.begin(), values.end());
    out.most = *std::max_element(values.begin(), values.end());
  }
  out.values = std::move(values);
  return out;
}

Table make_table(const Sweep& sweep, const std::vector<RunResult>& results) {
  return TableMaker(sweep, results).make();
}

std::string cell_text(const Summary& summary) {
  if (summary.n == 0) return "–";
  char text[64];
  if (summary.n == 1)
    std::snprintf(text, sizeof text, "%.4f", summary.mean);
  else
    std::snprintf(text, sizeof text, "%.4f ± %.4f", summary.mean, summary.spread);
  return text;
}

}  // namespace trireme::coordinator::sweep
