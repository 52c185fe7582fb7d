// What coordinator and worker say to each other (FORMAT.md beside this file). Control traffic only: tensors
// travel over a collective group, stage outputs over files. Every message carries run id, incarnation and
// protocol version; others are refused and counted.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "jobs/kinds/task_kinds.h"
#include "jobs/specification/data_spec.h"
#include "jobs/specification/device_policy.h"

namespace trireme::jobs {

inline constexpr std::uint16_t kProtocolVersion = 3;

// One shard of a data set: a tar, or a table of paths and captions.
struct ShardRef {
  std::string data;
  std::int64_t shard = 0;  // position in the data set's manifest
  std::string path;
  DataFormat format = DataFormat::kUnset;
  std::int64_t source = 0;  // index in DataSpec::sources
  std::uint64_t bytes = 0;
  std::string sha256;         // "" before inspect
  std::int64_t samples = -1;  // usable ones; -1 before inspect
  // The part that DataSpec::select leaves, positions among the usable samples; count -1: all. Inputs files
  // list every shard of a data set, also those of which nothing is selected (count 0).
  std::int64_t selected_first = 0, selected_count = -1;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data);
    v.field("shard", shard);
    v.field("path", path);
    v.field("format", format);
    v.field("source", source);
    v.field("bytes", bytes);
    v.field("sha256", sha256);
    v.field("samples", samples);
    v.field("selected_first", selected_first);
    v.field("selected_count", selected_count);
  }
};

// A file that another task left in the store.
struct InputFile {
  Role role = Role::kNone;
  std::string stage;        // the stage that made it
  std::string data;         // data set, "" for artifacts
  std::int64_t shard = -1;  // -1 for artifacts
  std::int64_t first = -1;  // first sample of the range, -1 for whole shards and artifacts
  std::string path;
  std::uint64_t xxh3 = 0;  // of the file; for a folder that of its listing

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("role", role);
    v.field("stage", stage);
    v.field("data", data);
    v.field("shard", shard);
    v.field("first", first);
    v.field("path", path);
    v.field("xxh3", xxh3);
  }
};

struct Task {
  LeaseId lease;
  std::string job,
      stage;  // stage: the name in the spec; "inspect:train", "synthesize:train/0" for implicit ones
  TaskKind kind = TaskKind::kInspect;
  std::string settings;  // settings_json() of the stage; synthetic_json() for synthesize; "{}" for inspect
  std::string data;      // data_json() of the data set it reads, "" when none
  std::string model;     // model_json() of the model it runs or trains, "" when none
  std::string evaluate_data;  // train: data_json() of evaluate_every.data, "" when none
  std::optional<ShardRef> shard;
  std::int64_t first = 0, count = 0;  // samples [first, first + count) of the shard
  std::int64_t part = 0, parts = 1;   // merge: partition `part` of `parts`; synthesize: that shard of so many
  std::vector<InputFile> inputs;      // map tasks and synthesize; merges and gangs read inputs_file instead
  std::string inputs_file;  // JSON lines: {"shard": ShardRef} or {"input": InputFile}, in manifest order
  std::string address;      // 32 hex digits; equal addresses mean equal bytes
  std::string output;       // output path without extension: <store>/<kind>/<2 hex>/<address>
  DevicePolicy device = DevicePolicy::kAuto;
  // Gang only.
  std::vector<Rank> members;      // world ranks in gang order; gang rank 0 writes files and reports
  std::string stage_folder;       // <output>/stages/<stage>: log.jsonl
  std::string checkpoint_folder;  // <output>/ckpt/<stage>
  std::string resume_from;        // a verified step folder, "" to start afresh
  std::int64_t checkpoint_every_steps = 0;
  double checkpoint_every_seconds = 0;
  double checkpoint_fail_after_seconds = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("lease", lease);
    v.field("job", job);
    v.field("stage", stage);
    v.field("kind", kind);
    v.field("settings", settings);
    v.field("data", data);
    v.field("model", model);
    v.field("evaluate_data", evaluate_data);
    v.field("shard", shard);
    v.field("first", first);
    v.field("count", count);
    v.field("part", part);
    v.field("parts", parts);
    v.field("inputs", inputs);
    v.field("inputs_file", inputs_file);
    v.field("address", address);
    v.field("output", output);
    v.field("device", device);
    v.field("members", members);
    v.field("stage_folder", stage_folder);
    v.field("checkpoint_folder", checkpoint_folder);
    v.field("resume_from", resume_from);
    v.field("checkpoint_every_steps", checkpoint_every_steps);
    v.field("checkpoint_every_seconds", checkpoint_every_seconds);
    v.field("checkpoint_fail_after_seconds", checkpoint_fail_after_seconds);
  }
};

// ---- worker to coordinator
// --------------------------------------------------------------------------------------

struct Hello {
  std::string host;
  std::int64_t pid = 0;
  std::int64_t cores = 0;
  std::string device;  // "cpu", "cuda:0 NVIDIA H100 …"
  std::string code_version;
  std::int64_t metrics_port = 0;
  std::string metrics_host;  // as discovery names it; "127.0.0.1": reachable on the worker's host alone

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("host", host);
    v.field("pid", pid);
    v.field("cores", cores);
    v.field("device", device);
    v.field("code_version", code_version);
    v.field("metrics_port", metrics_port);
    v.field("metrics_host", metrics_host);
  }
};

struct Heartbeat {
  std::uint64_t sequence = 0;
  LeaseId lease;                     // task in hand, 0 when idle
  std::int64_t done = 0, total = 0;  // samples of a map task, steps of a gang
  std::uint64_t resident_bytes = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("sequence", sequence);
    v.field("lease", lease);
    v.field("done", done);
    v.field("total", total);
    v.field("resident_bytes", resident_bytes);
  }
};

// One training step, from gang rank 0. Replaceable: an unsent one gives way to a newer one.
struct StepReport {
  LeaseId lease;
  std::int64_t step = 0, steps = 0, epoch = 0, samples = 0;
  double loss = 0, learning_rate = 0, logit_scale = 0, gradient_norm = 0, samples_per_second = 0;
  std::string evaluation;  // JSON of metrics when this step was evaluated, else ""

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("lease", lease);
    v.field("step", step);
    v.field("steps", steps);
    v.field("epoch", epoch);
    v.field("samples", samples);
    v.field("loss", loss);
    v.field("learning_rate", learning_rate);
    v.field("logit_scale", logit_scale);
    v.field("gradient_norm", gradient_norm);
    v.field("samples_per_second", samples_per_second);
    v.field("evaluation", evaluation);
  }
};

struct OutputFile {
  std::string name;  // "" for the main output, else what it is: "thumbnails"
  std::string path;
  std::uint64_t bytes = 0;
  std::uint64_t xxh3 = 0;  // of the file; for a folder that of its listing

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("name", name);
    v.field("path", path);
    v.field("bytes", bytes);
    v.field("xxh3", xxh3);
  }
};

struct TaskDone {
  LeaseId lease;
  bool reused = false;  // found complete at its address in the store
  std::vector<OutputFile> outputs;
  std::map<std::string, std::int64_t> counts;  // "in", "kept", "dropped.short_side", "bad.bad_decode" …
  std::string summary =
      "{}";  // small JSON for the planner and the report: inspect's ShardSummary, evaluate's metrics
  double seconds = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("lease", lease);
    v.field("reused", reused);
    v.field("outputs", outputs);
    v.field("counts", counts);
    v.field("summary", summary);
    v.field("seconds", seconds);
  }
};

struct TaskFailed {
  LeaseId lease;
  ErrorKind kind = ErrorKind::kInternal;
  bool retryable = false;
  std::string message;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("lease", lease);
    v.field("kind", kind);
    v.field("retryable", retryable);
    v.field("message", message);
  }
};

// Gang rank 0: the files of one checkpoint lie written and synced in `folder`; the coordinator renames and
// commits.
struct CheckpointWritten {
  LeaseId lease;
  std::int64_t step = 0, epoch = 0;
  bool best = false;  // best evaluation so far
  double metric = 0;
  std::string folder;             // <checkpoint_folder>/.tmp-<step>-<incarnation>
  std::vector<OutputFile> files;  // names relative to folder
  std::string state;  // JSON for the manifest: seed, data manifest hash, order position, world size …
  double stall_seconds = 0, write_seconds = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("lease", lease);
    v.field("step", step);
    v.field("epoch", epoch);
    v.field("best", best);
    v.field("metric", metric);
    v.field("folder", folder);
    v.field("files", files);
    v.field("state", state);
    v.field("stall_seconds", stall_seconds);
    v.field("write_seconds", write_seconds);
  }
};

// ---- coordinator to worker
// --------------------------------------------------------------------------------------

struct Welcome {
  std::string run_id, job;
  double heartbeat_seconds = 0.5, fence_seconds = 10;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("run_id", run_id);
    v.field("job", job);
    v.field("heartbeat_seconds", heartbeat_seconds);
    v.field("fence_seconds", fence_seconds);
  }
};
struct Assign {
  Task task;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("task", task);
  }
};
// Stop the task in hand within a second. A gang first writes a checkpoint when asked to.
struct Cancel {
  LeaseId lease;
  bool checkpoint_first = false;
  std::string reason;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("lease", lease);
    v.field("checkpoint_first", checkpoint_first);
    v.field("reason", reason);
  }
};
struct CheckpointCommitted {
  LeaseId lease;
  std::int64_t step = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("lease", lease);
    v.field("step", step);
  }
};
struct Ping {
  template <class Visitor>
  void visit(Visitor&) {}
};
struct Leave {
  template <class Visitor>
  void visit(Visitor&) {}
};  // finish: finalise MPI and exit 0

using Message = std::variant<Hello, Heartbeat, StepReport, TaskDone, TaskFailed, CheckpointWritten, Welcome,
                             Assign, Cancel, CheckpointCommitted, Ping, Leave>;

// A worker that was not told run and incarnation (no TRIREME_RUN_ID, TRIREME_INCARNATION in its environment)
// says Hello with run 0 and incarnation 0 and learns both from the envelope of its Welcome.
struct Envelope {
  std::uint64_t run = 0;  // xxh3 of the run id
  Incarnation incarnation;
  Message message;
};

// Envelope::run of a run id.
std::uint64_t run_key(std::string_view run_id);

inline constexpr std::size_t kLongestBody = 64 << 20;

std::string encode(const Envelope& envelope);

// Throws kDamaged on a bad checksum, length, version or body; never reads out of bounds (fuzzed).
Envelope decode(std::string_view bytes);

// JSON of the parts that are also written to files.
std::string to_json(const Task& task);
Task task_from_json(std::string_view text);
std::string to_json(const InputFile& input);
std::string to_json(const ShardRef& shard);
ShardRef shard_from_json(std::string_view text);

// One line of an inputs file is one of the two.
struct InputsLine {
  std::optional<ShardRef> shard;
  std::optional<InputFile> input;
};
std::string to_json(const InputsLine& line);
InputsLine inputs_line_from_json(std::string_view text);

// What inspect tells the planner about a shard (TaskDone::summary).
struct ShardSummary {
  std::string sha256;
  std::int64_t samples = 0;  // usable: an image and a caption or a label
  std::int64_t captions = 0;
  bool labels = false;                      // .cls members
  std::map<std::string, std::int64_t> bad;  // reason -> samples that cannot be used
  std::vector<std::string> examples;        // the first of them, "<sample>: <reason>"
  // Where every member or row went, and what the source looks like (worker/data/shards/shard_reader.h).
  std::map<std::string, std::int64_t> seen;
  std::string reading;  // "", or what tells this reading from that of the first version: part of addresses
  std::string advice;   // what is known of the causes of `bad`

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("sha256", sha256);
    v.field("samples", samples);
    v.field("captions", captions);
    v.field("labels", labels);
    v.field("bad", bad);
    v.field("examples", examples);
    v.field("seen", seen);
    v.field("reading", reading);
    v.field("advice", advice);
  }
};
// Receipts of the first version end at `examples`; what they lack is empty.
std::string to_json(const ShardSummary& summary);
ShardSummary summary_from_json(std::string_view text);

}  // namespace trireme::jobs
