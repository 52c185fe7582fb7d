// The job file: one pipeline as a graph of named stages (README "The job file"). Reading fills every default,
// and reports every fault at once with its JSON pointer.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/data_spec.h"
#include "jobs/specification/device_policy.h"
#include "jobs/specification/json/fault.h"
#include "jobs/specification/model_spec.h"
#include "jobs/specification/stages/stage_spec.h"

namespace trireme::jobs {

struct CheckpointSpec {
  std::int64_t every_steps = 500;
  double every_seconds = 600;  // whichever comes first; 0: off
  std::int64_t keep_last = 3;
  bool keep_other_settings = true;
  double fail_after_seconds = 1800;  // without one that could be written

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("every_steps", every_steps, {.help = "0: only by time and at the end", .least = 0, .most = 1e9});
    v.field("every_seconds", every_seconds,
            {.help = "0: only by steps and at the end", .least = 0, .most = 1e7});
    v.field("keep_last", keep_last, {.help = "verified checkpoints kept", .least = 2, .most = 1000});
    v.field("keep_other_settings", keep_other_settings,
            {.help = "checkpoints that the stage wrote with other settings stay"});
    v.field("fail_after_seconds", fail_after_seconds,
            {.help = "training goes on for so long while no checkpoint can be written; 0: not at all",
             .least = 0,
             .most = 1e7});
  }
};

struct RetrySpec {
  std::int64_t max_attempts = 10;      // incarnations
  std::int64_t no_progress_limit = 3;  // incarnations in a row that committed nothing new
  double backoff_seconds = 1, max_backoff_seconds = 60;
  std::int64_t task_attempts = 3;  // tries of one shard task that fails with an error

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("max_attempts", max_attempts, {.help = "starts of the run", .least = 1, .most = 1e6});
    v.field("no_progress_limit", no_progress_limit,
            {.help = "starts in a row that committed nothing new", .least = 1, .most = 1000});
    v.field("backoff_seconds", backoff_seconds,
            {.help = "wait before the second restart", .least = 0, .most = 3600});
    v.field("max_backoff_seconds", max_backoff_seconds,
            {.help = "longest wait before a restart", .least = 0, .most = 86400});
    v.field("task_attempts", task_attempts, {.help = "tries of one shard task", .least = 1, .most = 100});
  }
};

// RELIABILITY 8.8; checked at start: heartbeat < suspect < dead <= fence < lease.
struct TimeoutSpec {
  double heartbeat_seconds = 0.5, suspect_seconds = 3, dead_seconds = 10, fence_seconds = 10;
  double first_heartbeat_seconds = 120, lease_seconds = 60;
  double step_seconds = 60;  // least time without a training step before the gang counts as stuck (10 x the
                             // median when that is more)
  double stop_seconds = 30;  // to write a checkpoint and stop in

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("heartbeat_seconds", heartbeat_seconds,
            {.help = "between heartbeats", .least = 0.01, .most = 60});
    v.field("suspect_seconds", suspect_seconds,
            {.help = "silence that makes a worker suspect", .least = 0.05, .most = 600});
    v.field("dead_seconds", dead_seconds,
            {.help = "silence that makes a worker dead", .least = 0.1, .most = 3600});
    v.field("fence_seconds", fence_seconds,
            {.help = "a worker leaves when the coordinator was silent so long", .least = 0.1, .most = 3600});
    v.field("first_heartbeat_seconds", first_heartbeat_seconds,
            {.help = "time a worker has to report", .least = 0.1, .most = 3600});
    v.field("lease_seconds", lease_seconds,
            {.help = "a task without a sign of life for so long is given away", .least = 0.2, .most = 86400});
    v.field("step_seconds", step_seconds,
            {.help = "longest time without a training step", .least = 1, .most = 86400});
    v.field(
        "stop_seconds", stop_seconds,
        {.help = "from a request to stop until the run ends without waiting for the checkpoint any longer",
         .least = 0.1,
         .most = 86400});
  }
};

struct PipelineSpec {
  std::string output;  // run folder
  std::string store;   // stage outputs addressed by content; empty: <output>/store
  std::map<std::string, DataSpec> data;
  std::map<std::string, ModelSpec> models;
  std::vector<StageSpec> stages;
  CheckpointSpec checkpoint;
  RetrySpec retry;
  TimeoutSpec timeouts;
  double deadline_seconds = 0;      // 0: none
  std::int64_t task_samples = 256;  // samples per task: one big tar feeds many workers
  DevicePolicy device = DevicePolicy::kAuto;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("output", output, {.help = "run folder", .least = 1, .required = true});
    v.field("store", store, {.help = "stage outputs addressed by content; empty: <output>/store"});
    v.field("data", data,
            {.help = "named data sets; without one only stages that read none have work", .most = 64});
    v.field("models", models, {.help = "named models", .most = 64});
    v.field("stages", stages, {.help = "the work, a graph", .least = 1, .most = 64, .required = true});
    v.field("checkpoint", checkpoint, {.help = "checkpoints of training"});
    v.field("retry", retry, {.help = "restarts after a failure"});
    v.field("timeouts", timeouts, {.help = "heartbeat < suspect < dead <= fence < lease"});
    v.field("deadline_seconds", deadline_seconds, {.help = "0: none", .least = 0, .most = 1e9});
    v.field("task_samples", task_samples,
            {.help = "samples per task: one big tar feeds many workers", .least = 1, .most = 1e6});
    v.field("device", device,
            {.help = "where workers compute; auto: a GPU where one works; cuda: fail where none does"});
  }
};

struct JobSpec {
  std::string api_version = "trireme/v1";
  std::string kind = "Pipeline";
  std::string name;
  std::map<std::string, std::string> labels;
  PipelineSpec spec;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("apiVersion", api_version, {.help = "version of this format", .choices = {"trireme/v1"}});
    v.field("kind", kind, {.help = "what the document is", .choices = {"Pipeline"}});
    v.field("name", name, {.help = "name of the job", .least = 1, .most = 64, .required = true});
    v.field("labels", labels, {.help = "remarks; no effect", .most = 64});
    v.field("spec", spec, {.help = "the pipeline", .required = true});
  }
};

struct ReadResult {
  JobSpec job;                    // meaningful only without faults
  std::vector<SpecFault> faults;  // all of them, in document order
  bool ok() const { return faults.empty(); }
};

// `overrides`: "spec.data.train=PATH" as given to --set; the value is JSON where it parses as such, else a
// string. Checks syntax, keys, types, ranges and references between stages, data and models; touches no file.
ReadResult read_job(std::string_view json_text, const std::vector<std::string>& overrides = {});

// Every default filled in; reading it again gives the same job. Stable key order.
std::string effective_json(const JobSpec& job, int indent = 2);

// Effective settings of one stage as compact JSON, and back (the worker reads what the coordinator sent).
std::string settings_json(const StageSettings& settings);
StageSettings settings_from_json(std::string_view kind, std::string_view json_text);
template <class Settings>
Settings settings_from_json(std::string_view json_text) {
  return std::get<Settings>(settings_from_json(Settings::kKind, json_text));
}
std::string model_json(const ModelSpec& model);
ModelSpec model_from_json(std::string_view json_text);
std::string data_json(const DataSpec& data);
DataSpec data_from_json(std::string_view json_text);
std::string synthetic_json(const SyntheticSpec& synthetic);
SyntheticSpec synthetic_from_json(std::string_view json_text);

template <>
inline MeasureSettings settings_from_json(std::string_view json_text) {
  return measure_from_json(json_text);
}
template <>
inline SyntheticSpec settings_from_json(std::string_view json_text) {
  return synthetic_from_json(json_text);
}
struct NoSettings {};  // of a kind of task that has none
template <>
inline NoSettings settings_from_json(std::string_view) {
  return {};
}

// The train stage that `model` of an evaluate or index stage names, with "stage:" or without; "" where it is
// a name in spec.models.
std::string evaluated_stage(const PipelineSpec& spec, const std::string& model);

// Train stages whose weights a model starts from: of init_from and blend, in this order, without repetition.
std::vector<std::string> starting_stages(const ModelSpec& model);

// JSON Schema (draft 7) of the job file.
std::string job_schema();

// "0:400" -> [0, 400); "" -> everything. Throws kInvalid.
struct Selection {
  std::int64_t first = 0, last = std::numeric_limits<std::int64_t>::max();
};
Selection parse_selection(std::string_view text);

}  // namespace trireme::jobs
