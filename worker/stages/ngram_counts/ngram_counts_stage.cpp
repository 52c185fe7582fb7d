#include "worker/stages/ngram_counts/ngram_counts_stage.h"

#include <algorithm>

#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/ngram_counts.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::ngram_counts {

jobs::TaskDone NgramsMapStage::work(const Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard = task.open_shard();
  const std::int64_t first = task.first(), end = task.end(shard);
  data::NgramTally tally(task.output(), task.settings.partitions,
                         static_cast<std::size_t>(task.settings.memory_mib) << 20);
  std::int64_t captions = 0;
  for (std::int64_t sample = first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    for (const auto& caption : shard.captions(sample)) {
      tally.add_words(text::unigrams(caption));
      ++captions;
    }
    if (context.progress) context.progress(sample - first + 1, end - first);
  }
  jobs::TaskDone result;
  result.counts = {
      {"in", end - first}, {"captions", captions}, {"ngrams", tally.counted()}, {"spills", tally.spills()}};
  tally.finish();

  return result;
}

jobs::TaskDone NgramsMergeStage::work(const Task& task, runtime::TaskContext& context) {
  std::vector<data::NgramRun> runs;
  for (const auto& path : task.inputs.paths(jobs::Role::kNgrams)) {
    context.stop->throw_if_stopped();
    if (runs.emplace_back(path).partitions() != task.parts())
      throw Error(ErrorKind::kInternal, path + " has " + std::to_string(runs.back().partitions()) +
                                            " partitions, the merge of stage '" + task.stage() +
                                            "' expects " + std::to_string(task.parts()));
  }

  jobs::TaskDone result;
  result.counts = {
      {"distinct_ngrams", data::write_ngram_counts(runs, task.part(), task.parts(), task.output())}};

  return result;
}

}  // namespace trireme::worker::stages::ngram_counts
