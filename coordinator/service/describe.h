// The job document of coordinator/api/API.md from plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/ledger/rows.h"
#include "coordinator/planner/task_graph.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::service {

struct StageView {
  std::string name, kind, state;  // "waiting", "running", "done", "failed", "cancelled"
  bool implicit = false;
  planner::StageProgress progress;
  double task_seconds = 0;  // mean of the tasks done in this incarnation, 0 when none was
};

struct WorkerView {
  Rank rank = 0;
  std::string state, host, device, task;  // state: "busy", "idle", "awaited", "suspect", "dead", "retired"
  double speed_ratio = 1;                 // Fleet::speed_ratio
};

// Kept from every task of the job since it was in hand at too many deaths of workers, or suspected.
struct QuarantineView {
  std::string shard, sample;  // path, key; "": the whole shard
  std::string state;          // "suspect", "quarantined"
  std::int64_t deaths = 0;
  std::string last;  // "worker 2, signal 11, stage filter"
};

struct JobView {
  ledger::JobRow row;
  std::string name, output;
  std::vector<StageView> stages;
  std::string training_stage;
  std::optional<jobs::StepReport> training;
  std::vector<WorkerView> workers;
  std::vector<QuarantineView> quarantine;
  double active_seconds = 0;
};

std::string describe_job(const JobView& view);

// Share of the work that is done, 0 … 1: the mean over stages; training counts by its steps.
double progress_ratio(const JobView& view);
std::optional<double> remaining_seconds(const JobView& view);

// StageView::progress as the ledger keeps it in StageRow::plan, and back.
std::string progress_json(const StageView& stage);
StageView stage_from_row(const ledger::StageRow& row);

std::string iso_time(std::int64_t milliseconds);  // "" for 0
std::string events_json(const std::vector<ledger::EventRow>& rows);

}  // namespace trireme::coordinator::service
