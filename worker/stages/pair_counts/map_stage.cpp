#include <algorithm>

#include "common/io/hash.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/pair_counts.h"
#include "worker/runtime/task_inputs.h"
#include "worker/stages/pair_counts/pair_counts_stage.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::pair_counts {

jobs::TaskDone PairCountsMapStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings =
      std::get<jobs::PairCountsSettings>(jobs::settings_from_json("pair_counts", task.settings));
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::int64_t end = std::min(task.first + task.count, shard.size());
  std::vector<data::Pair> pairs;
  for (std::int64_t sample = task.first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    std::string storage;
    const auto image = io::xxh3_128(shard.image_bytes(sample, storage));
    for (const auto& caption : shard.captions(sample)) {
      pairs.push_back({io::xxh3_128(text::normalized_text(caption)), image});
    }
    if (context.progress) context.progress(sample - task.first + 1, end - task.first);
  }
  jobs::TaskDone result;
  result.counts = {{"in", std::max<std::int64_t>(end - task.first, 0)},
                   {"captions", static_cast<std::int64_t>(pairs.size())},
                   {"pairs", data::write_pairs(task.output + ".pairs", pairs, settings.partitions)}};
  result.outputs = {runtime::describe_output("", task.output + ".pairs")};
  return result;
}

}  // namespace trireme::worker::stages::pair_counts
