// The rows of the ledger's tables (RELIABILITY 8.4) and the job's state machine (8.9). Values only;
// wall-clock times are for people and decide nothing.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/enum_names.h"
#include "common/base/ids.h"

namespace trireme::coordinator::ledger {

enum class JobState {
  kQueued,
  kStarting,
  kRunning,
  kPaused,
  kRecovering,
  kStopping,
  kSucceeded,
  kFailed,
  kCancelled
};
constexpr std::array<std::string_view, 9> names_of(JobState) {
  return {"QUEUED",   "STARTING",  "RUNNING", "PAUSED",   "RECOVERING",
          "STOPPING", "SUCCEEDED", "FAILED",  "CANCELLED"};
}
bool is_terminal(JobState state);
bool may_move(JobState from, JobState to);  // the edges of RELIABILITY 8.9

struct JobRow {
  std::string job;  // "job-000001"
  JobState state = JobState::kQueued;
  std::string cause;  // why it is in this state
  std::string idempotency_key;
  std::uint64_t body_hash = 0;        // xxh3 of the submitted text
  std::string spec;                   // effective JSON
  std::int64_t attempt = 0;           // incarnations that worked on it
  std::int64_t without_progress = 0;  // of these, in a row, that committed nothing new
  double active_seconds = 0;          // time it ran, over incarnations
  std::int64_t submitted_ms = 0, started_ms = 0, ended_ms = 0;
};

enum class StageState { kOpen, kCommitted };
constexpr std::array<std::string_view, 2> names_of(StageState) {
  return {"open", "committed"};
}

struct StageRow {
  std::string job, stage;
  std::int64_t position = 0;
  std::string kind;
  StageState state = StageState::kOpen;
  std::string plan;  // JSON: settings hash, seed, logical slots …
};

enum class LeaseState { kGranted, kDone, kFailed, kLost };
constexpr std::array<std::string_view, 4> names_of(LeaseState) {
  return {"granted", "done", "failed", "lost"};
}

// One row per attempt at a task.
struct LeaseRow {
  LeaseId lease;
  std::string job;
  std::int64_t stage = 0;  // position of the stage
  std::string task;        // planner::key_of
  std::string address;
  std::string workers;  // "3" or, for a gang, "1,2,3"
  std::uint64_t incarnation = 0;
  LeaseState state = LeaseState::kGranted;
  std::string why;     // failed, lost
  std::string result;  // done: result_json()
  std::int64_t granted_ms = 0, ended_ms = 0;
};

// Committed: verified by re-reading. Of another ledger: kept (never used or removed), chosen to go on from,
// or adopted once a run went on from it.
enum class CheckpointState { kCommitted, kRetired, kBad, kKept, kChosen, kAdopted };
constexpr std::array<std::string_view, 6> names_of(CheckpointState) {
  return {"committed", "retired", "bad", "kept", "chosen", "adopted"};
}

struct CheckpointRow {
  std::string folder;  // <output>/ckpt/<stage>/step-00001234
  std::string job, stage;
  std::string address;  // of the gang's task: only a task with the same address may resume from it
  std::int64_t step = 0, epoch = 0;
  std::uint64_t manifest_xxh3 = 0;
  std::uint64_t bytes = 0;
  std::uint64_t incarnation = 0;
  CheckpointState state = CheckpointState::kCommitted;
  std::int64_t best = 0;
  double metric = 0;
};

struct QuarantineRow {
  std::string item;  // "shard/3" or "sample/3/17"
  std::string job, reason, evidence;
};

// Kinds: RunOpened, JobSubmitted, JobState, PlanFixed, StageCommitted, LeaseGranted/Done/Failed/Lost,
// ShardQuarantined, SampleQuarantined, CheckpointCommitted/Retired/Bad, WorkerJoined/Lost, Paused, Resumed.
struct Event {
  std::string kind, job;
  std::string payload;  // JSON
};

struct EventRow {
  std::uint64_t sequence = 0;
  std::uint64_t incarnation = 0;
  std::int64_t time_ms = 0;
  Event event;
};

// Everything one decision batch writes, in order; one transaction.
using Write = std::variant<JobRow, StageRow, LeaseRow, CheckpointRow, QuarantineRow, Event>;
using Batch = std::vector<Write>;

}  // namespace trireme::coordinator::ledger
