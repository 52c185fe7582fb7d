// measure: the first step of a filter. Looks at every sample of a range once (decode check, words, language,
// scene graph, counts, columns, scores, copies) and writes what it found to `.facts.jsonl`; thresholds come
// later (filter_stage.h). Without MeasureSettings::decode a picture's header alone is read. Inputs: role
// "shard_index", and as the settings ask "pair_counts", "ngram_counts", "duplicates" (every partition),
// "near_clusters" and "scores". Decodes on TaskContext::threads threads. Counts: measured.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "jobs/specification/stages/filter_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/duplicates.h"
#include "worker/data/tallies/near_clusters.h"
#include "worker/data/tallies/ngram_counts.h"
#include "worker/data/tallies/pair_counts.h"
#include "worker/runtime/open_task.h"
#include "worker/spotting/spotter.h"
#include "worker/stages/filter/facts.h"
#include "worker/text/parser/caption_parser.h"

namespace trireme::worker::stages::filter {

// Of tasks of one stage: the merged tallies, opened once per set of files.
template <class Artifact>
class OpenedOnce {
 public:
  const Artifact* open(std::vector<std::string> paths);

 private:
  std::vector<std::string> paths_;
  std::unique_ptr<Artifact> artifact_;
};

// One spotter per thread that wants one at a time; made when first needed, as each takes a tenth of a second.
class Spotters {
 public:
  std::unique_ptr<spotting::Spotter> take();
  void give_back(std::unique_ptr<spotting::Spotter> spotter);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<spotting::Spotter>> free_;
};

class MeasureStage : public runtime::StageOf<jobs::TaskKind::kMeasure, jobs::MeasureSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  OpenedOnce<data::PairCounts> pairs_;
  OpenedOnce<data::NgramCounts> ngrams_;
  OpenedOnce<data::Duplicates> duplicates_;
  OpenedOnce<data::NearClusters> clusters_;
  Spotters spotters_;
  std::unique_ptr<text::CaptionParser> parser_;  // when a task has asked for it
};

// What text rules ask about one caption; any of the tallies may be null. Thread-safe.
CaptionFacts caption_facts(const std::string& caption, const jobs::MeasureSettings& settings,
                           const data::PairCounts* pairs, const data::NgramCounts* ngrams,
                           const text::CaptionParser* parser);

}  // namespace trireme::worker::stages::filter
