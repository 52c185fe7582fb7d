#include "worker/stages/ngram_counts/ngram_counts_stage.h"

#include <algorithm>

#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/ngram_counts.h"
#include "worker/runtime/task_inputs.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::ngram_counts {

jobs::TaskDone NgramsMapStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings =
      std::get<jobs::NgramCountsSettings>(jobs::settings_from_json("ngram_counts", task.settings));
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::int64_t end = std::min(task.first + task.count, shard.size());
  data::NgramTally tally(task.output + ".ngrams", settings.partitions,
                         static_cast<std::size_t>(settings.memory_mib) << 20);
  std::int64_t captions = 0;
  for (std::int64_t sample = task.first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    for (const auto& caption : shard.captions(sample)) {
      tally.add_words(text::unigrams(caption));
      ++captions;
    }
    if (context.progress) context.progress(sample - task.first + 1, end - task.first);
  }
  jobs::TaskDone result;
  result.counts = {{"in", std::max<std::int64_t>(end - task.first, 0)},
                   {"captions", captions},
                   {"ngrams", tally.counted()},
                   {"spills", tally.spills()}};
  tally.finish();
  result.outputs = {runtime::describe_output("", task.output + ".ngrams")};
  return result;
}

jobs::TaskDone NgramsMergeStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  std::vector<data::NgramRun> runs;
  for (const auto& line : runtime::read_inputs(task)) {
    if (!line.input || !line.input->path.ends_with(".ngrams")) continue;
    context.stop->throw_if_stopped();
    if (runs.emplace_back(line.input->path).partitions() != task.count)
      throw Error(ErrorKind::kInternal, line.input->path + " has " +
                                            std::to_string(runs.back().partitions()) +
                                            " partitions, the merge of stage '" + task.stage + "' expects " +
                                            std::to_string(task.count));
  }
  const std::string path = task.output + ".ngram_counts";
  jobs::TaskDone result;
  result.counts = {{"distinct_ngrams", data::write_ngram_counts(runs, task.first, task.count, path)}};
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

}  // namespace trireme::worker::stages::ngram_counts
