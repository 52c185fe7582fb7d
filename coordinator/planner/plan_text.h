// What `trireme plan` prints: the graph of a job, walked as far as the receipts in its store reach, without
// running or writing anything. What only an inspection can tell stands as "after inspect".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/planner/task_graph.h"

namespace trireme::coordinator::planner {

struct PlannedStage {
  std::string name, kind, shape;  // shape: "map", "map + merge", "gang"
  std::vector<std::string> needs;
  bool gang = false;         // has steps
  std::int64_t tasks = 0;    // known so far
  bool tasks_final = false;  // no more will appear
  std::int64_t reused = 0;   // of these, in the store
  std::int64_t steps = -1;   // train: -1 until the samples are known
  double steps_per_epoch = -1;
};

struct PlannedData {
  DataInfo info;
  std::int64_t expected = -1;  // selected samples: known, or what a synthetic source will have; -1 unknown
};

struct Plan {
  std::string name, output, store;
  std::vector<PlannedData> data;
  std::vector<PlannedStage> stages;
  std::int64_t tasks = 0, reused = 0;
  double disk_bytes = -1;       // estimate of what all stages leave in the store; -1 unknown
  double checkpoint_bytes = 0;  // and of the checkpoints that lie in the output folder at once
  std::int64_t disk_free_bytes = 0;
  std::vector<std::string> notes;
  std::string spec_json;  // the effective job, defaults filled in
};

// Throws kInvalid as TaskGraph does.
Plan make_plan(const jobs::JobSpec& job, ListedJob listed);

std::string plan_text(const Plan& plan);
std::string plan_json(const Plan& plan);  // compact

}  // namespace trireme::coordinator::planner
