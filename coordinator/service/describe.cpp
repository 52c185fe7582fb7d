#include "coordinator/service/describe.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

#include <nlohmann/json.hpp>

#include "jobs/kinds/stage_kinds.h"

namespace trireme::coordinator::service {

using nlohmann::json;

namespace {

json number(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

json parsed(const std::string& text) {
  if (text.empty()) return nullptr;
  json document = json::parse(text, nullptr, false);
  return document.is_discarded() ? json(nullptr) : document;
}

json stage_json(const StageView& stage) {
  return {{"name", stage.name},
          {"kind", stage.kind},
          {"implicit", stage.implicit},
          {"state", stage.state},
          {"tasks_known", stage.progress.tasks_known},
          {"tasks_done", stage.progress.tasks_done},
          {"tasks_reused", stage.progress.tasks_reused},
          {"tasks_final", stage.progress.tasks_final},
          {"counts", stage.progress.counts}};
}

json training_json(const JobView& view) {
  if (!view.training) return nullptr;
  const auto& step = *view.training;
  return {{"stage", view.training_stage},
          {"step", step.step},
          {"steps", step.steps},
          {"epoch", step.epoch},
          {"samples", step.samples},
          {"loss", number(step.loss)},
          {"learning_rate", number(step.learning_rate)},
          {"logit_scale", number(step.logit_scale)},
          {"gradient_norm", number(step.gradient_norm)},
          {"samples_per_second", number(step.samples_per_second)},
          {"evaluation", parsed(step.evaluation)}};
}

double stage_ratio(const JobView& view, const StageView& stage) {
  if (stage.progress.committed || stage.state == "done") return 1;
  if (view.training && stage.name == view.training_stage && view.training->steps > 0)
    return static_cast<double>(view.training->step) / static_cast<double>(view.training->steps);
  if (stage.progress.tasks_known == 0) return 0;
  return static_cast<double>(stage.progress.tasks_done) / static_cast<double>(stage.progress.tasks_known);
}

}  // namespace

double progress_ratio(const JobView& view) {
  if (view.row.state == ledger::JobState::kSucceeded) return 1;
  if (view.stages.empty()) return 0;
  double sum = 0;
  for (const auto& stage : view.stages) sum += stage_ratio(view, stage);
  return std::min(1.0, sum / static_cast<double>(view.stages.size()));
}

std::optional<double> remaining_seconds(const JobView& view) {
  if (ledger::is_terminal(view.row.state)) return std::nullopt;
  double left = 0;
  bool measured = false;
  if (view.training && view.training->samples_per_second > 0) {  // its steps are all alike
    const auto& at = *view.training;
    const double samples_per_step =
        static_cast<double>(at.samples) / static_cast<double>(std::max<std::int64_t>(at.step, 1));
    left += static_cast<double>(at.steps - at.step) * samples_per_step / at.samples_per_second;
    measured = true;
  }
  const auto workers = static_cast<double>(std::max<std::size_t>(view.workers.size(), 1));
  for (const auto& stage : view.stages) {
    if (const auto* row = jobs::row_named(stage.kind); row != nullptr && row->shape == jobs::Shape::kGang) {
      // A run that has not begun to train, or is to train once more, has nothing to go by.
      if (!stage.progress.committed && stage.name != view.training_stage) return std::nullopt;
      continue;
    }
    const auto open = static_cast<double>(stage.progress.tasks_known - stage.progress.tasks_done);
    if (open <= 0) continue;
    if (stage.task_seconds > 0) measured = true;
    left += open * stage.task_seconds / std::min(workers, open);
  }
  return measured ? std::optional(left) : std::nullopt;
}

std::string iso_time(std::int64_t milliseconds) {
  if (milliseconds == 0) return "";
  const std::time_t whole = milliseconds / 1000;
  std::tm parts{};
  ::gmtime_r(&whole, &parts);
  char day[32], text[48];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text, sizeof text, "%s.%03dZ", day, static_cast<int>(milliseconds % 1000));
  return text;
}

std::string describe_job(const JobView& view) {
  json stages = json::array(), workers = json::array();
  for (const auto& stage : view.stages) stages.push_back(stage_json(stage));
  for (const auto& worker : view.workers)
    workers.push_back({{"rank", worker.rank},
                       {"state", worker.state},
                       {"host", worker.host},
                       {"device", worker.device},
                       {"task", worker.task},
                       {"speed_ratio", worker.speed_ratio}});
  json quarantine = json::array();
  for (const auto& one : view.quarantine)
    quarantine.push_back({{"shard", one.shard},
                          {"sample", one.sample},
                          {"state", one.state},
                          {"deaths", one.deaths},
                          {"last", one.last}});
  const auto left = remaining_seconds(view);
  const json eta = left ? json(*left) : json(nullptr);
  return text_of({{"id", view.row.job},
                  {"name", view.name},
                  {"state", name_of(view.row.state)},
                  {"cause", view.row.cause},
                  {"attempt", view.row.attempt},
                  {"output", view.output},
                  {"submitted", iso_time(view.row.submitted_ms)},
                  {"started", iso_time(view.row.started_ms)},
                  {"finished", iso_time(view.row.ended_ms)},
                  {"active_seconds", view.active_seconds},
                  {"progressPercentage", std::floor(100 * progress_ratio(view))},
                  {"estimatedRemainingSeconds", eta},
                  {"eta_seconds", eta},
                  {"stages", std::move(stages)},
                  {"training", training_json(view)},
                  {"workers", std::move(workers)},
                  {"quarantine", std::move(quarantine)}});
}

std::string progress_json(const StageView& stage) {
  return text_of(stage_json(stage));
}

StageView stage_from_row(const ledger::StageRow& row) {
  StageView view;
  view.name = row.stage;
  view.kind = row.kind;
  const json document = parsed(row.plan);
  view.state = row.state == ledger::StageState::kCommitted ? "done" : "waiting";
  if (!document.is_object()) return view;
  view.state = document.value("state", view.state);
  view.implicit = document.value("implicit", false);
  view.progress.tasks_known = document.value("tasks_known", std::int64_t{0});
  view.progress.tasks_done = document.value("tasks_done", std::int64_t{0});
  view.progress.tasks_reused = document.value("tasks_reused", std::int64_t{0});
  view.progress.tasks_final = document.value("tasks_final", false);
  view.progress.committed = row.state == ledger::StageState::kCommitted;
  view.progress.counts = document.value("counts", std::map<std::string, std::int64_t>{});
  return view;
}

std::string events_json(const std::vector<ledger::EventRow>& rows) {
  json events = json::array();
  for (const auto& row : rows)
    events.push_back({{"sequence", row.sequence},
                      {"incarnation", row.incarnation},
                      {"kind", row.event.kind},
                      {"job", row.event.job},
                      {"time", iso_time(row.time_ms)},
                      {"payload", parsed(row.event.payload)}});
  return text_of({{"events", std::move(events)}});
}

}  // namespace trireme::coordinator::service
