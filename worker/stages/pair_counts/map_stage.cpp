#include <algorithm>

#include "common/io/hash.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/pair_counts.h"
#include "worker/stages/pair_counts/pair_counts_stage.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::pair_counts {

jobs::TaskDone PairCountsMapStage::work(const Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard = task.open_shard();
  const std::int64_t first = task.first(), end = task.end(shard);
  std::vector<data::Pair> pairs;
  for (std::int64_t sample = first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    std::string storage;
    const auto image = io::xxh3_128(shard.image_bytes(sample, storage));
    for (const auto& caption : shard.captions(sample)) {
      pairs.push_back({io::xxh3_128(text::normalized_text(caption)), image});
    }
    if (context.progress) context.progress(sample - first + 1, end - first);
  }
  jobs::TaskDone result;
  result.counts = {{"in", end - first},
                   {"captions", static_cast<std::int64_t>(pairs.size())},
                   {"pairs", data::write_pairs(task.output(), pairs, task.settings.partitions)}};

  return result;
}

}  // namespace trireme::worker::stages::pair_counts
