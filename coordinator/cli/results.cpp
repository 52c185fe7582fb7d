#include "coordinator/cli/results.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/launch/host_report.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {
using json = nlohmann::ordered_json;  // metrics stay in the order in which they were written

std::string evaluation_table(const std::string& stage, const json& document) {
  const auto metrics = document.find("metrics");
  if (metrics == document.end() || !metrics->is_object()) return "";
  const auto chance = document.find("chance");
  const bool has_chance = chance != document.end() && chance->is_object();
  std::vector<std::vector<std::string>> rows{{"metric", "value"}};
  if (has_chance) rows[0].emplace_back("chance");
  for (const auto& [name, value] : metrics->items()) {
    if (!value.is_number()) continue;
    rows.push_back({printable(name, 60), number_text(value.get<double>(), 4)});
    if (has_chance)
      rows.back().push_back(chance->contains(name) ? number_text(chance->value(name, std::nan("")), 4) : "");
  }
  if (rows.size() == 1) return "";
  const std::string data = document.value("dataset", std::string());
  return "Evaluation " + printable(stage, 60) + (data.empty() ? "" : " on " + printable(data, 200)) + "\n" +
         table_text(rows) + "\n";
}

std::string evaluations(const JobView& job) {
  std::string text;
  for (const auto& stage : job.stages) {
    const io::Path file = store::RunPaths{job.output}.stage(stage.name) / "evaluation.json";
    if (!io::exists(file)) continue;
    try {
      text += evaluation_table(stage.name, json::parse(io::read_file(file, 64U << 20)));
    } catch (const std::exception& error) {
      text += file.string() + ": " + error.what() + "\n";
    }
  }
  return text;
}

// "dropped.<rule>" and "bad.<reason>" of one stage, largest first.
std::string dropped_table(const StageView& stage) {
  std::vector<std::pair<std::int64_t, std::string>> reasons;
  for (const auto& [name, count] : stage.counts)
    if (count > 0 && (name.rfind("dropped.", 0) == 0 || name.rfind("bad.", 0) == 0))
      reasons.emplace_back(-count, name);
  if (reasons.empty()) return "";
  std::sort(reasons.begin(), reasons.end());
  const auto count_of = [&](const char* name) {
    const auto found = stage.counts.find(name);
    return found == stage.counts.end() ? std::int64_t{-1} : found->second;
  };
  std::string text = "Samples left out by " + printable(stage.name, 60);
  if (count_of("in") >= 0 && count_of("kept") >= 0)
    text += ": kept " + count_text(count_of("kept")) + " of " + count_text(count_of("in"));
  std::vector<std::vector<std::string>> rows{{"reason", "samples"}};
  for (const auto& [negative, name] : reasons) rows.push_back({printable(name, 60), count_text(-negative)});
  text += "\n" + table_text(rows);
  if (stage.name.rfind("inspect:", 0) == 0)
    text += "The shards are named in report.html (Damaged shards) and in logs/rank-0.log.\n";
  return text + "\n";
}

std::string places(const JobView& job) {
  const store::RunPaths run{job.output};
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const char* what, const io::Path& path) {
    if (io::exists(path)) rows.push_back({what, path.string()});
  };
  add("report", run.report());
  add("model", run.model());
  add("index", run.index());
  std::string text = rows.empty() ? "" : table_text(rows);
  const bool plain = job.output.find_first_of(" \t'\"\\$`&;()<>|*?[]{}#~!") == std::string::npos;
  if (io::exists(run.index()))
    text += "\nSearch it:  trireme search " + (plain ? job.output : quoted_for_shell(job.output)) +
            " \"a few words\"\n";
  return text;
}

}  // namespace

std::string results_text(const JobView& job) {
  std::string text;
  std::int64_t reused = 0;
  for (const auto& stage : job.stages) {
    text += dropped_table(stage);
    reused += stage.tasks_reused;
  }
  text += evaluations(job);
  if (reused > 0)
    text += count_text(reused) + (reused == 1 ? " task was" : " tasks were") +
            " not run again: the store, or another stage of this job, had the result\n";
  return text + places(job);
}

}  // namespace trireme::coordinator::cli
