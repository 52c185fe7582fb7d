// evaluate, task "captions": captions that a caption stage or somebody else made, against the data set's own.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "worker/evaluation/caption_scores.h"
#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::evaluate {

struct CaptionEvaluation {
  std::string dataset;
  evaluation::CaptionScores scores;
  std::map<std::string, std::int64_t> counts;
};

// Lines {"key","caption"} of the inputs with role "captions", or of the file or folder (*.jsonl, below it
// too) that the settings name; other members are left alone, and lines without a "key" (heads of files).
// Joined to the samples that the filters kept by shard (a line's or a head's "shard_sha256") and key, or by
// key alone where files have no head and no two shards share one; both sides are split into words by
// text::caption_words. Counts: images, undecodable (those whose line says why the picture has no caption; not
// scored), stale (lines of files that were written for a shard this data set does not have; as if absent),
// unknown (captions of no kept sample), repeated (the same caption of a key again), empty (captions without a
// word; they are scored). kInvalid when a kept sample has no caption, with counts, when a key has two, when
// samples have no captions of their own, and for lines that are no JSON objects, naming file and line.
CaptionEvaluation evaluate_captions(const runtime::OpenTask<jobs::EvaluateSettings>& task,
                                    const std::function<void()>& poll);

}  // namespace trireme::worker::stages::evaluate
