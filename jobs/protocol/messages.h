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

namespace trireme::jobs {

inline constexpr std::uint16_t kProtocolVersion = 1;

// What a worker is asked to do. A stage is made of one or two of these (planner): evaluate = embeds, then one
// evaluate.
enum class TaskKind {
  kSynthesize,
  kInspect,
  kFilter,
  kPairCountsMap,
  kPairCountsMerge,
  kEmbed,
  kTrain,
  kEvaluate,
  kIndex,
  kVocabularyMap,
  kVocabularyMerge,
  kVocabularyTrain,
  kMeasure,
  kNgramsMap,
  kNgramsMerge,
  kDuplicatesMap,
  kDuplicatesMerge,
  kExport,
  kCuts,
  kCaption,
  kConceptWordsMap,
  kConceptWordsMerge,
  kConceptVocabulary,
  kConceptTeacher,
  kConcepts,
  kSignatures,
  kNearPairs,
  kNearClusters,
  kPairScores
};
std::string_view name_of(TaskKind kind);  // "synthesize", …, "pair_counts_map", …
TaskKind task_kind_from_name(std::string_view name);

// One shard of a data set: a tar, or a table of paths and captions.
struct ShardRef {
  std::string data;
  std::int64_t shard = 0;  // position in the data set's manifest
  std::string path;
  std::string format;       // "webdataset", "clip_benchmark", "table"
  std::int64_t source = 0;  // index in DataSpec::sources
  std::uint64_t bytes = 0;
  std::string sha256;         // "" before inspect
  std::int64_t samples = -1;  // usable ones; -1 before inspect
  // The part that DataSpec::select leaves, positions among the usable samples; count -1: all. Inputs files
  // list every shard of a data set, also those of which nothing is selected (count 0).
  std::int64_t selected_first = 0, selected_count = -1;
};

// A file that another task left in the store.
struct InputFile {
  std::string role;   // "shard_index", "verdicts", "features", "pairs" (of pair_counts' map tasks),
                      // "pair_counts" (merged), "model" (a folder), "words" and "word_counts" (map and
                      // merge of a vocabulary stage), "vocabulary",
                      // "facts" (of measure),
                      // "ngrams" and "ngram_counts", "hashes" and "duplicates" (maps and merged), "cuts",
                      // "concept_words" and "concept_counts" (map and merge of a concept_vocabulary
                      // stage), "concept_vocabulary" (its file, and what a concepts stage's teacher has),
                      // "concepts" (labels of a range), "captions" (lines with key and caption),
                      // "signatures", "near_pairs" and "near_clusters" (of near_duplicates), "scores"
  std::string stage;  // the stage that made it
  std::string data;   // data set, "" for artifacts
  std::int64_t shard = -1;  // -1 for artifacts
  std::int64_t first = -1;  // first sample of the range, -1 for whole shards and artifacts
  std::string path;
  std::uint64_t xxh3 = 0;  // of the file; for a folder that of its listing
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
  std::int64_t first =
      0;  // map: samples [first, first + count) of the shard; merge: partition `first` of `count`;
  std::int64_t count = 0;         //   synthesize: shard `first` of `count`
  std::vector<InputFile> inputs;  // map tasks and synthesize; merges and gangs read inputs_file instead
  std::string inputs_file;  // JSON lines: {"shard": ShardRef} or {"input": InputFile}, in manifest order
  std::string address;      // 32 hex digits; equal addresses mean equal bytes
  std::string output;       // output path without extension: <store>/<kind>/<2 hex>/<address>
  // Gang only.
  std::vector<Rank> members;      // world ranks in gang order; gang rank 0 writes files and reports
  std::string stage_folder;       // <output>/stages/<stage>: log.jsonl
  std::string checkpoint_folder;  // <output>/ckpt/<stage>
  std::string resume_from;        // a verified step folder, "" to start afresh
  std::int64_t checkpoint_every_steps = 0;
  double checkpoint_every_seconds = 0;
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
};

struct Heartbeat {
  std::uint64_t sequence = 0;
  LeaseId lease;                     // task in hand, 0 when idle
  std::int64_t done = 0, total = 0;  // samples of a map task, steps of a gang
  std::uint64_t resident_bytes = 0;
};

// One training step, from gang rank 0. Replaceable: an unsent one gives way to a newer one.
struct StepReport {
  LeaseId lease;
  std::int64_t step = 0, steps = 0, epoch = 0, samples = 0;
  double loss = 0, learning_rate = 0, logit_scale = 0, gradient_norm = 0, samples_per_second = 0;
  std::string evaluation;  // JSON of metrics when this step was evaluated, else ""
};

struct OutputFile {
  std::string name;  // "" for the main output, else what it is: "thumbnails"
  std::string path;
  std::uint64_t bytes = 0;
  std::uint64_t xxh3 = 0;  // of the file; for a folder that of its listing
};

struct TaskDone {
  LeaseId lease;
  bool reused = false;  // found complete at its address in the store
  std::vector<OutputFile> outputs;
  std::map<std::string, std::int64_t> counts;  // "in", "kept", "dropped.short_side", "bad.bad_decode" …
  std::string summary =
      "{}";  // small JSON for the planner and the report: inspect's ShardSummary, evaluate's metrics
  double seconds = 0;
};

struct TaskFailed {
  LeaseId lease;
  ErrorKind kind = ErrorKind::kInternal;
  bool retryable = false;
  std::string message;
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
};

// ---- coordinator to worker
// --------------------------------------------------------------------------------------

struct Welcome {
  std::string run_id, job;
  double heartbeat_seconds = 0.5, fence_seconds = 10;
};
struct Assign {
  Task task;
};
// Stop the task in hand within a second. A gang first writes a checkpoint when asked to.
struct Cancel {
  LeaseId lease;
  bool checkpoint_first = false;
  std::string reason;
};
struct CheckpointCommitted {
  LeaseId lease;
  std::int64_t step = 0;
};
struct Ping {};
struct Leave {};  // finish: finalise MPI and exit 0

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
InputFile input_from_json(std::string_view text);
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
};
// Receipts of the first version end at `examples`; what they lack is empty.
std::string to_json(const ShardSummary& summary);
ShardSummary summary_from_json(std::string_view text);

}  // namespace trireme::jobs
