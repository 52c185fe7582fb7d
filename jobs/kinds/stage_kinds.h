// Every kind of stage, one row each: stage_kinds.cpp has the table, and does not compile while a kind of
// StageSettings has no row. Beside those of a job file, a job has two that it implies: what renders a
// synthetic source (settings: SyntheticSpec) and what inspects shards (none).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "jobs/kinds/task_kinds.h"
#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

enum class Shape {
  kMap,    // task by task, each by itself
  kTally,  // maps, then merges of all that they left
  kGang    // all chosen workers in lockstep
};
constexpr std::array<std::string_view, 3> names_of(Shape) {
  return {"map", "map + merge", "gang"};
}

struct StageStep {
  TaskKind task = TaskKind::kInspect;
  std::uint32_t phase = 0;  // where it stands in the keys of tasks, which ledgers hold
};

struct StageRow {
  std::string_view name;
  Shape shape;
  TaskKind result;  // whose output other stages mean by "the stage's"
  std::array<StageStep, 5> steps;
  std::uint32_t step_count;

  std::uint32_t phase_of(TaskKind task) const;  // throws kInternal where the stage has no such task
};

const StageRow& row_of(const StageSettings& settings);
const StageRow* row_named(std::string_view kind);  // also of the two below; nullptr when there is none
extern const StageRow kSynthesizeRow, kInspectRow;

// What a stage leaves on disk, by rough figures.
struct Footprint {
  double per_sample = 0;  // of each of its data sets' samples
  double copies = 0;      // times the bytes of its data sets
  double whole = 0;
  double checkpoints = 0;  // while it runs, beside the store
};
Footprint footprint_of(const PipelineSpec& spec, const StageSettings& settings);
double bytes_per_sample(const SyntheticSpec& synthetic);  // what its rendering leaves
inline constexpr double kShardIndexBytes = 200;           // of a sample, what inspection leaves

// Data sets that a stage runs over, the one it learns from behind the others.
std::vector<std::string> data_of(const StageSpec& stage);
// The data set that a gang is evaluated on while it runs; "" without one.
std::string evaluated_on(const StageSpec& stage);

}  // namespace trireme::jobs
