// report.html of one job: self-contained (inline SVG and base64 thumbnails, no script, no outside file). Made
// from what the ledger says and the files that stages left; decodes no image. Missing pieces are left out, so
// it serves a running job too.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::report {

struct ReportStage {
  std::string name, kind, state;
  std::int64_t tasks_known = 0, tasks_done = 0, tasks_reused = 0;
  std::map<std::string, std::int64_t> counts;  // sums of TaskDone::counts
  std::vector<std::string> thumbnail_files;    // "thumbnails" outputs, manifest order
  std::vector<std::string> facts_files;        // of a filter's measures
  std::vector<std::string> caption_files;      // of a caption stage
};

// One worker's part in one lease, for the timeline.
struct ReportSpan {
  std::string stage;
  int worker = 0;
  double start_seconds = 0, end_seconds = 0;  // since the job began
  bool failed = false;                        // or lost
};

struct ReportInput {
  std::string job_id, name, state, cause;
  std::string spec_json;  // effective
  io::Path output;        // <output>/stages/<stage>/{log.jsonl, evaluation.json, signals.json} are read
  std::vector<ReportStage> stages;
  std::vector<ReportSpan> timeline;
  // Data set, shard and what is wrong in it; the worst of each set.
  std::vector<std::array<std::string, 3>> damaged;
  // Data set, and how a source of it is read or where what it holds went.
  std::vector<std::array<std::string, 2>> sources;
};

std::string render_report(const ReportInput& input);

// Atomic replace of `path`.
void write_report(const ReportInput& input, const io::Path& path);

}  // namespace trireme::coordinator::report
