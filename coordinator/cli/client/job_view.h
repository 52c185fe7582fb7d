// The job document of the API (coordinator/api/API.md) as the command line reads it: missing or odd members
// keep their defaults, so that a newer coordinator can be watched too.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::coordinator::cli {

struct StageView {
  std::string name, kind, state;
  bool implicit = false, tasks_final = false;
  std::int64_t tasks_done = 0, tasks_known = 0, tasks_reused = 0;
  std::map<std::string, std::int64_t> counts;
};

struct TrainingView {
  std::string stage;
  std::int64_t step = 0, steps = 0, epoch = 0;
  double loss = 0, learning_rate = 0, samples_per_second = 0;
};

struct WorkerView {
  std::int64_t rank = 0;
  std::string state, host, device, task;
};

struct JobView {
  std::string id, name, state, cause, output, submitted;
  std::int64_t attempt = 0;
  double active_seconds = 0;  // time it ran, over incarnations
  std::vector<StageView> stages;
  std::optional<TrainingView> training;
  std::vector<WorkerView> workers;
  std::optional<double> eta_seconds;
  bool terminal() const { return state == "SUCCEEDED" || state == "FAILED" || state == "CANCELLED"; }
};

// Throws kDamaged when the text is not a JSON object.
JobView job_view_from_json(std::string_view text);

struct JobPage {
  std::vector<JobView> jobs;
  std::string next_page_token;
};
JobPage job_page_from_json(std::string_view text);

struct EventView {
  std::uint64_t sequence = 0;
  std::string kind, time, payload;
};
std::vector<EventView> events_from_json(std::string_view text);

}  // namespace trireme::coordinator::cli
