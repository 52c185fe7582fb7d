// What the runs of a sweep gave, and the table of it: mean and spread over the seeds of each row. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/sweep/sweep_spec.h"

namespace trireme::coordinator::sweep {

// "evaluate.acc1" and its value; what was evaluated first, then the signals of training.
using Metrics = std::vector<std::pair<std::string, double>>;

// Numbers of <output>/stages/<stage>/{evaluation.json, signals.json} of a finished run
// (jobs/protocol/FORMAT.md); absent files are left out, values that are not finite too. Throws kDamaged
// naming a file that is no JSON object.
Metrics metrics_of(const jobs::JobSpec& job);

struct RunResult {
  std::string state = "QUEUED";  // of the job: SUCCEEDED, FAILED …
  std::string cause, job_id, commit;
  std::int64_t attempt = 0;  // how often the run was given to the fleet before
  double seconds = 0;
  std::int64_t tasks_done = 0, tasks_reused = 0;
  Metrics metrics;
  bool over() const { return state == "SUCCEEDED" || failed(); }
  bool failed() const { return state == "FAILED" || state == "CANCELLED"; }
};

// spread: standard deviation with n - 1; NaN for fewer than two.
struct Summary {
  std::int64_t n = 0;
  double mean = 0, spread = 0, least = 0, most = 0;
  std::vector<double> values;  // in the order of the seeds
};
Summary summary_of(std::vector<double> values);

// This row minus the baseline at the same point of the grid, seed by seed.
struct Difference {
  Summary summary;
  std::int64_t wins = 0;  // seeds in which this row is higher
};

struct TableRow {
  SweepRow row;
  std::int64_t runs = 0, done = 0, failed = 0;
  std::vector<Summary> metrics;  // one per column; n 0: no value
  Difference against_baseline;   // of the main metric; n 0 without a baseline
};

struct Table {
  std::vector<std::string> metrics;  // columns, the main one first
  std::string main_metric;           // "" while no run has any
  std::vector<TableRow> rows;
  std::vector<std::string> remarks;  // a metric that no run has, with the nearest name
};

// `results`: one per job of the sweep. Without a main metric in the file: the first of mean_recall@1 and acc1
// that a run has, else the first metric.
Table make_table(const Sweep& sweep, const std::vector<RunResult>& results);

std::string cell_text(const Summary& summary);  // "0.3125 ± 0.0104", "–" without a value

}  // namespace trireme::coordinator::sweep
