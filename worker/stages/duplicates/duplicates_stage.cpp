#include "worker/stages/duplicates/duplicates_stage.h"

#include <algorithm>

#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/duplicates.h"
#include "worker/runtime/task_inputs.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::duplicates {

jobs::TaskDone DuplicatesMapStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings =
      std::get<jobs::DuplicatesSettings>(jobs::settings_from_json("duplicates", task.settings));
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::int64_t end = std::min(task.first + task.count, shard.size());
  data::SampleHashes hashes;
  for (std::int64_t sample = task.first; sample < end; ++sample) {
    context.stop->throw_if_stopped();
    std::string storage;
    std::vector<std::string> captions = shard.captions(sample);
    for (auto& caption : captions) caption = text::normalized_text(caption);
    const auto of_sample = data::sample_hashes(shard.image_bytes(sample, storage), captions);
    for (std::size_t family = 0; family < data::kSameInCount; ++family)
      if (of_sample[family])
        hashes[family].push_back({*of_sample[family], static_cast<std::uint32_t>(sample)});
    if (context.progress) context.progress(sample - task.first + 1, end - task.first);
  }
  data::write_hashes(task.output + ".hashes", std::move(hashes), settings.partitions);
  jobs::TaskDone result;
  result.counts = {{"in", std::max<std::int64_t>(end - task.first, 0)}};
  result.outputs = {runtime::describe_output("", task.output + ".hashes")};
  return result;
}

jobs::TaskDone DuplicatesMergeStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  std::vector<data::RangeOfHashes> ranges;
  for (const auto& line : runtime::read_inputs(task))
    if (line.input && line.input->path.ends_with(".hashes"))
      ranges.push_back({line.input->path, line.input->data, line.input->shard});
  context.stop->throw_if_stopped();
  const std::string path = task.output + ".duplicates";
  const auto counts = data::write_duplicates(ranges, task.first, task.count, path);
  jobs::TaskDone result;
  const char* const names[] = {"image", "text", "pair"};
  for (std::size_t family = 0; family < data::kSameInCount; ++family) {
    result.counts[std::string("groups.") + names[family]] = counts[family].groups;
    result.counts[std::string("copies.") + names[family]] = counts[family].copies;
  }
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

}  // namespace trireme::worker::stages::duplicates
