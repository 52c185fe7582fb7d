// The sweep file: one base job and the values in which its runs differ (README "Sweeps").
//
//   {"apiVersion": "trireme/v1", "kind": "Sweep", "name": "noise", "output": "runs/sweep-noise",
//    "base": "job.json",                                   a path from this file's folder, or a job itself
//    "set":  {"spec.stages.train.epochs": 4},              in every run, as --set
//    "arms": {"InfoNCE": {}, "ALIP": {"spec.stages.train.loss.gates.sample": true}},
//    "grid": {"spec.data.train.synthetic.swapped": [0, 0.3]},
//    "seeds": [1, 2, 3], "seed_paths": ["spec.stages.train.seed"],   default: of every train stage
//    "metrics": ["evaluate.acc1"], "main_metric": "evaluate.acc1", "baseline": "InfoNCE"}
//
// A row of the table is an arm at a point of the grid; it is run once per seed. Read strictly: all faults at
// once, each with its JSON pointer into the sweep file, faults of a run at the setting that caused them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::sweep {

inline constexpr std::size_t kMostJobs = 1000;

struct SweepSetting {
  std::string path, value_json;  // "spec.stages.train.seed", "3"
  std::string pointer;           // where it stands in the sweep file; "" for --set
};

struct SweepAxis {
  std::string path, label;  // label: the shortest end of the path that tells the axes apart
  std::vector<SweepSetting> values;
  bool numbers = false;  // all of them
};

struct SweepArm {
  std::string name;
  std::vector<SweepSetting> settings;
};

// A row of the table.
struct SweepRow {
  std::string arm;
  std::vector<std::string> values;  // one per axis, for people
  std::vector<double> numbers;      // one per axis, NaN where it is no number
  std::string label() const;        // "ALIP, 0.3"
};

struct SweepJob {
  std::size_t row = 0;
  std::int64_t seed = 0;
  std::string name;  // of the job and its folder <output>/jobs/<name>
  std::string key;   // 16 hex digits over all that is run
  jobs::JobSpec job;
};

struct Sweep {
  std::string name, about;
  io::Path output;
  std::vector<SweepArm> arms;  // never empty; one without a name when the file has none
  std::vector<SweepAxis> axes;
  std::vector<std::int64_t> seeds;
  std::vector<std::string> metrics;   // empty: all
  std::string main_metric, baseline;  // may be empty
  std::vector<SweepRow> rows;
  std::vector<SweepJob> jobs;  // seeds of a row together, rows in the order of the file
  std::string text;            // of the file
};

struct ReadSweep {
  Sweep sweep;  // meaningful only without faults
  std::vector<jobs::SpecFault> faults;
};

// `folder`: of the sweep file. `overrides`: --set, over the base and under the arms. `output`: instead of the
// file's when not empty. Paths become absolute, from the working folder; runs share <output>/store unless the
// base job names a store.
ReadSweep read_sweep(std::string_view text, const io::Path& folder,
                     const std::vector<std::string>& overrides = {}, const io::Path& output = {});

}  // namespace trireme::coordinator::sweep
