#include "worker/stages/duplicates/duplicates_stage.h"

#include <algorithm>

#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/duplicates.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::duplicates {

jobs::TaskDone DuplicatesMapStage::work(const Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard = task.open_shard();
  const std::int64_t first = task.first(), end = task.end(shard);
  data::SampleHashes hashes;
  for (std::int64_t sample = first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    std::string storage;
    std::vector<std::string> captions = shard.captions(sample);
    for (auto& caption : captions) caption = text::normalized_text(caption);
    const auto of_sample = data::sample_hashes(shard.image_bytes(sample, storage), captions);
    for (std::size_t family = 0; family < data::kSameInCount; ++family)
      if (of_sample[family])
        hashes[family].push_back({*of_sample[family], static_cast<std::uint32_t>(sample)});
    if (context.progress) context.progress(sample - first + 1, end - first);
  }
  data::write_hashes(task.output(), std::move(hashes), task.settings.partitions);
  jobs::TaskDone result;
  result.counts = {{"in", end - first}};

  return result;
}

jobs::TaskDone DuplicatesMergeStage::work(const Task& task, runtime::TaskContext& context) {
  std::vector<data::RangeOfHashes> ranges;
  for (const auto& input : task.inputs.all(jobs::Role::kHashes))
    ranges.push_back({input.path, input.data, input.shard});
  context.stop->throw_if_stopped();

  const auto counts = data::write_duplicates(ranges, task.part(), task.parts(), task.output());
  jobs::TaskDone result;
  const char* const names[] = {"image", "text", "pair"};
  for (std::size_t family = 0; family < data::kSameInCount; ++family) {
    result.counts[std::string("groups.") + names[family]] = counts[family].groups;
    result.counts[std::string("copies.") + names[family]] = counts[family].copies;
  }

  return result;
}

}  // namespace trireme::worker::stages::duplicates
