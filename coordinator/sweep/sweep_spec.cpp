#include "coordinator/sweep/sweep_spec.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "coordinator/sweep/sweep_file.h"
#include "jobs/specification/json/names.h"

namespace trireme::coordinator::sweep {
namespace {

using jobs::SpecFault;

// Letters that folder names, job names and file lists all take.
std::string slug(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_';
    if (plain)
      out += c;
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  while (!out.empty() && (out.front() == '.' || out.front() == '-')) out.erase(0, 1);
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.substr(0, 40);
}

std::string meant(const std::string& given, const std::vector<std::string>& known) {
  const std::string near = nearest_name(given, known);
  if (!near.empty()) return "did you mean \"" + near + "\"?";
  std::string list;
  for (const auto& name : known) list += (list.empty() ? "" : ", ") + name;
  return "known: " + (list.empty() ? "(none)" : list);
}

class Expansion {
 public:
  Expansion(const SweepFile& file, Sweep& sweep, const std::vector<std::string>& overrides,
            std::vector<SpecFault>& faults)
      : file_(file), sweep_(sweep), overrides_(overrides), faults_(faults) {}

  void run() {
    if (!choose_seed_paths() || !size_fits()) return;
    check_conflicts();
    make_rows();
    for (std::size_t row = 0; row < sweep_.rows.size(); ++row)
      for (std::size_t seed = 0; seed < sweep_.seeds.size(); ++seed) make_job(row, seed);
    check_metric_stages();
  }

 private:
  void fault(const std::string& pointer, const std::string& code, const std::string& detail,
             const std::string& hint = "") {
    for (const auto& known : faults_)
      if (known.pointer == pointer && known.detail == detail) return;  // once, not once a run
    faults_.push_back({pointer, code, detail, hint});
  }

  bool choose_seed_paths();
  bool size_fits();
  void check_conflicts();
  void make_rows();
  void make_job(std::size_t row, std::size_t seed);
  std::vector<SweepSetting> settings_of(std::size_t row, std::size_t seed) const;
  void place_faults(const std::vector<SpecFault>& found, const std::vector<SweepSetting>& settings);
  void check_metric_stages();

  const SweepFile& file_;
  Sweep& sweep_;
  const std::vector<std::string>& overrides_;
  std::vector<SpecFault>& faults_;
  std::vector<std::string> seed_paths_;
  std::vector<std::vector<std::size_t>> points_;  // positions on the axes, one per row
  std::vector<std::size_t> arm_of_;               // one per row
};

bool Expansion::choose_seed_paths() {
  seed_paths_ = file_.seed_paths;
  if (!seed_paths_.empty()) return true;
  // Faults of the base are told with the runs; names of stages are there in spite of them.
  const auto base = jobs::read_job(file_.base_text).job;
  for (const auto& stage : base.spec.stages)
    if (std::holds_alternative<jobs::TrainSettings>(stage.settings))
      seed_paths_.push_back("spec.stages." + stage.name + ".seed");
  if (!seed_paths_.empty() || sweep_.seeds.size() == 1) return true;
  fault("/seeds", "invalid", "the base job has no train stage whose seed could vary",
        "name the values to vary in seed_paths");
  return false;
}

bool Expansion::size_fits() {
  double count = static_cast<double>(sweep_.arms.size()) * static_cast<double>(sweep_.seeds.size());
  for (const auto& axis : sweep_.axes) count *= static_cast<double>(axis.values.size());
  if (count <= static_cast<double>(kMostJobs)) return true;
  fault("", "too_large",
        "arms, grid and seeds make " + std::to_string(static_cast<long long>(count)) + " runs",
        "at most " + std::to_string(kMostJobs) + "; split the sweep");
  return false;
}

// The same value given by two of arm, grid and seeds has no meaning.
void Expansion::check_conflicts() {
  for (std::size_t a = 0; a < sweep_.axes.size(); ++a) {
    const auto& axis = sweep_.axes[a];
    const std::string pointer = "/grid" + pointer_part(axis.path);
    for (const auto& arm : sweep_.arms)
      for (const auto& setting : arm.settings)
        if (setting.path == axis.path)
          fault(setting.pointer, "invalid",
                "\"" + printable(axis.path, 200) + "\" is set by the grid as well", "keep one of the two");
    if (std::find(seed_paths_.begin(), seed_paths_.end(), axis.path) != seed_paths_.end())
      fault(pointer, "invalid", "the seeds set this value",
            "take it out of the grid, or name other seed_paths");
  }
  for (const auto& arm : sweep_.arms)
    for (const auto& setting : arm.settings)
      if (std::find(seed_paths_.begin(), seed_paths_.end(), setting.path) != seed_paths_.end())
        fault(setting.pointer, "invalid", "the seeds set this value",
              "take it out of the arm, or name other seed_paths");
}

void Expansion::make_rows() {
  std::vector<std::size_t> at(sweep_.axes.size(), 0);
  for (;;) {
    for (std::size_t arm = 0; arm < sweep_.arms.size(); ++arm) {
      SweepRow row{sweep_.arms[arm].name, {}, {}};
      for (std::size_t a = 0; a < at.size(); ++a) {
        const std::string& value = sweep_.axes[a].values[at[a]].value_json;
        const bool quoted = value.size() >= 2 && value.front() == '"';
        row.values.push_back(quoted ? value.substr(1, value.size() - 2) : value);
        row.numbers.push_back(sweep_.axes[a].numbers ? std::stod(value) : std::nan(""));
      }
      sweep_.rows.push_back(std::move(row));
      points_.push_back(at);
      arm_of_.push_back(arm);
    }
    std::size_t a = at.size();  // the last axis is the fastest
    while (a > 0 && ++at[a - 1] == sweep_.axes[a - 1].values.size()) at[--a] = 0;
    if (a == 0) return;
  }
}

std::vector<SweepSetting> Expansion::settings_of(std::size_t row, std::size_t seed) const {
  std::vector<SweepSetting> settings = file_.set;
  const auto& arm = sweep_.arms[arm_of_[row]];
  settings.insert(settings.end(), arm.settings.begin(), arm.settings.end());
  for (std::size_t a = 0; a < sweep_.axes.size(); ++a)
    settings.push_back(sweep_.axes[a].values[points_[row][a]]);
  for (const auto& path : seed_paths_)
    settings.push_back({path, std::to_string(sweep_.seeds[seed]), "/seeds/" + std::to_string(seed)});
  return settings;
}

void Expansion::make_job(std::size_t row, std::size_t seed) {
  SweepJob made;
  made.row = row;
  made.seed = sweep_.seeds[seed];
  const std::string label = slug(sweep_.rows[row].label());
  made.name = (label.empty() ? "run" : label) + "-s" + std::to_string(made.seed);
  const auto settings = settings_of(row, seed);
  std::vector<std::string> overrides = overrides_;
  for (const auto& setting : settings) overrides.push_back(setting.path + "=" + setting.value_json);
  overrides.push_back("name=\"" + made.name + "\"");
  overrides.push_back("spec.output=\"-\"");  // until the hash of all the rest is known
  auto read = jobs::read_job(file_.base_text, overrides);
  if (!read.ok()) return place_faults(read.faults, settings);
  made.job = std::move(read.job);
  // The position keeps two rows that happen to run the same apart: the store gives the second its results.
  const std::string all = std::to_string(row) + "\n" + jobs::effective_json(made.job);
  made.name += "-" + short_hash(all).substr(0, 8);
  made.job.name = made.name;
  made.job.spec.output = (sweep_.output / "jobs" / made.name).string();
  if (made.job.spec.store.empty()) made.job.spec.store = (sweep_.output / "store").string();
  make_absolute(made.job);
  made.key = short_hash(jobs::effective_json(made.job));
  sweep_.jobs.push_back(std::move(made));
}

// Each fault at the setting of the sweep file that it names (job_spec.h: "… (from --set path=value)"); the
// others are the base job's own.
void Expansion::place_faults(const std::vector<SpecFault>& found, const std::vector<SweepSetting>& settings) {
  for (const auto& one : found) {
    std::string pointer = file_.base_pointer, detail = one.detail;
    if (!one.pointer.empty()) detail = one.pointer + " of the job: " + detail;
    std::size_t longest = 0;
    for (const auto& setting : settings) {
      const std::string text = "--set " + printable(setting.path + "=" + setting.value_json, 200);
      if (text.size() < longest || one.detail.find(text) == std::string::npos) continue;
      longest = text.size();
      pointer = setting.pointer;
    }
    fault(pointer, one.code, detail, one.hint);
  }
}

void Expansion::check_metric_stages() {
  std::vector<std::string> stages;
  for (const auto& job : sweep_.jobs)
    for (const auto& stage : job.job.spec.stages)
      if (std::find(stages.begin(), stages.end(), stage.name) == stages.end()) stages.push_back(stage.name);
  if (stages.empty()) return;  // no run could be read
  const auto check = [&](const std::string& pointer, const std::string& metric) {
    const std::size_t dot = metric.find('.');
    if (dot == std::string::npos || dot == 0 || dot + 1 == metric.size())
      return fault(pointer, "invalid", jobs::quoted(metric) + " is no metric",
                   "write it as stage.metric, for example evaluate.acc1");
    const std::string stage = metric.substr(0, dot);
    if (std::find(stages.begin(), stages.end(), stage) == stages.end())
      fault(pointer, "unknown_name", "there is no stage " + jobs::quoted(stage), meant(stage, stages));
  };
  for (std::size_t i = 0; i < sweep_.metrics.size(); ++i)
    check("/metrics/" + std::to_string(i), sweep_.metrics[i]);
  if (!sweep_.main_metric.empty()) check("/main_metric", sweep_.main_metric);
}

}  // namespace

std::string SweepRow::label() const {
  std::string text = arm;
  for (const auto& value : values) text += (text.empty() ? "" : ", ") + value;
  return text.empty() ? "base" : text;
}

ReadSweep read_sweep(std::string_view text, const io::Path& folder, const std::vector<std::string>& overrides,
                     const io::Path& output) {
  ReadSweep result;
  Sweep& sweep = result.sweep;
  const SweepFile file = read_sweep_file(text, folder, sweep, result.faults);
  if (!result.faults.empty()) return result;
  sweep.text = std::string(text);
  if (!output.empty()) sweep.output = output;
  sweep.output = io::absolute(sweep.output).lexically_normal();
  Expansion(file, sweep, overrides, result.faults).run();
  return result;
}

}  // namespace trireme::coordinator::sweep
