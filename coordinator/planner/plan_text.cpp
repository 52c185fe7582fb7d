#include "coordinator/planner/plan_text.h"

#include <algorithm>
#include <cstdio>

#include "jobs/specification/json/json_document.h"

namespace trireme::coordinator::planner {
namespace {

using jobs::Json;

std::string human_bytes(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text;
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Rows of cells in columns as wide as they need.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths.resize(std::max(widths.size(), i + 1));
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += "  " + padded(row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string samples_text(const PlannedData& data) {
  if (data.info.all_known) return std::to_string(data.info.selected);
  return data.expected >= 0 ? "about " + std::to_string(data.expected) : "after inspect";
}

std::string tasks_text(const PlannedStage& stage) {
  if (stage.tasks_final) return std::to_string(stage.tasks);
  return stage.tasks > 0 ? std::to_string(stage.tasks) + " or more" : "after inspect";
}

Json number_or_null(double value) {
  return value < 0 ? Json() : Json(value);
}

Json whole_or_null(std::int64_t value) {
  return value < 0 ? Json() : Json(value);
}

}  // namespace

std::string plan_text(const Plan& plan) {
  std::string out = "job " + plan.name + "  output " + plan.output + "  store " + plan.store + "\n\ndata\n";
  std::vector<std::vector<std::string>> rows{{"name", "shards", "bytes", "samples"}};
  for (const auto& data : plan.data)
    rows.push_back({data.info.name, std::to_string(data.info.shards),
                    data.info.bytes > 0 ? human_bytes(static_cast<double>(data.info.bytes)) : "-",
                    samples_text(data)});
  out += table(rows);
  for (const auto& data : plan.data) {
    for (const auto& line : data.info.decided) out += "  " + data.info.name + ": " + line + "\n";
    if (!data.info.seen.empty()) out += "  " + data.info.name + ": " + data.info.seen + "\n";
  }
  out += "\nstages\n";
  rows = {{"name", "kind", "shape", "tasks", "in the store", "steps", "needs"}};
  for (const auto& stage : plan.stages) {
    const std::string steps = !stage.gang       ? "-"
                              : stage.steps < 0 ? "after inspect"
                                                : std::to_string(stage.steps);
    rows.push_back({stage.name, stage.kind, stage.shape, tasks_text(stage), std::to_string(stage.reused),
                    steps, joined(stage.needs)});
  }
  out += table(rows);
  out += "\nreused from store " + std::to_string(plan.reused) + " of " + std::to_string(plan.tasks) +
         " tasks known so far\n";
  out += "disk needed " +
         (plan.disk_bytes < 0 ? std::string("after inspect") : "about " + human_bytes(plan.disk_bytes)) +
         (plan.checkpoint_bytes > 0 ? ", checkpoints about " + human_bytes(plan.checkpoint_bytes) : "") +
         "; free " + human_bytes(static_cast<double>(plan.disk_free_bytes)) + "\n";
  for (const auto& note : plan.notes) out += "note: " + note + "\n";
  return out;
}

std::string plan_json(const Plan& plan) {
  Json data = Json::array(), stages = Json::array(), notes = Json::array();
  for (const auto& one : plan.data) {
    Json sources = Json::array();
    for (const auto& line : one.info.decided) sources.push(line);
    data.push(Json::object()
                  .set("name", one.info.name)
                  .set("shards", one.info.shards)
                  .set("inspected", one.info.inspected)
                  .set("bytes", one.info.bytes)
                  .set("samples", whole_or_null(one.expected))
                  .set("samples_known", one.info.all_known)
                  .set("bad", one.info.bad)
                  .set("sources", sources));
  }
  for (const auto& one : plan.stages) {
    Json needs = Json::array();
    for (const auto& need : one.needs) needs.push(need);
    Json stage = Json::object();
    stage.set("name", one.name).set("kind", one.kind).set("shape", one.shape).set("needs", needs);
    stage.set("tasks", one.tasks).set("tasks_final", one.tasks_final).set("reused", one.reused);
    if (one.gang)
      stage.set("steps", whole_or_null(one.steps))
          .set("steps_per_epoch", number_or_null(one.steps_per_epoch));
    stages.push(std::move(stage));
  }
  for (const auto& note : plan.notes) notes.push(note);
  Json root = Json::object();
  root.set("name", plan.name).set("output", plan.output).set("store", plan.store);
  root.set("data", data).set("stages", stages).set("tasks", plan.tasks).set("reused", plan.reused);
  root.set("disk_bytes", number_or_null(plan.disk_bytes)).set("checkpoint_bytes", plan.checkpoint_bytes);
  root.set("disk_free_bytes", plan.disk_free_bytes);
  root.set("notes", notes);
  std::vector<jobs::SpecFault> faults;
  if (!plan.spec_json.empty()) root.set("job", jobs::parse_json(plan.spec_json, faults));
  return jobs::dump_json(root);
}

}  // namespace trireme::coordinator::planner
