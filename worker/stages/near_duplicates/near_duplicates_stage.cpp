#include "worker/stages/near_duplicates/near_duplicates_stage.h"

#include <algorithm>
#include <optional>

#include "jobs/spec/job_spec.h"
#include "worker/data/near_duplicates.h"
#include "worker/data/shard_reader.h"
#include "worker/runtime/parallel.h"
#include "worker/runtime/task_inputs.h"

namespace trireme::worker::stages::near_duplicates {
namespace {

constexpr std::int64_t kLeastSide = 64;  // of the scaled decode

jobs::NearDuplicatesSettings settings_of(const jobs::Task& task) {
  return std::get<jobs::NearDuplicatesSettings>(jobs::settings_from_json("near_duplicates", task.settings));
}

struct Inputs {
  std::vector<data::RangeOfSignatures> ranges;
  std::vector<std::string> pairs;
};

Inputs inputs_of(const jobs::Task& task) {
  Inputs inputs;
  for (const auto& line : runtime::read_inputs(task)) {
    if (!line.input) continue;
    if (line.input->path.ends_with(".signatures"))
      inputs.ranges.push_back({line.input->path, line.input->data, line.input->shard});
    if (line.input->path.ends_with(".near_pairs")) inputs.pairs.push_back(line.input->path);
  }
  return inputs;
}

}  // namespace

jobs::TaskDone SignaturesStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::int64_t first = task.first,
                     count = std::max<std::int64_t>(0, std::min(task.count, shard.size() - task.first));
  std::vector<std::optional<data::ImageSignature>> found(static_cast<std::size_t>(count));
  runtime::parallel_for(
      count, context.threads, context.stop,
      [&](std::int64_t i) {
        std::string storage;
        data::Image picture;
        if (data::decode_image(shard.image_bytes(first + i, storage), {.least_side_px = kLeastSide}, picture)
                .empty())
          found[static_cast<std::size_t>(i)] = data::image_signature(picture);
      },
      [&](std::int64_t done) {
        if (context.progress) context.progress(done, count);
      });
  std::vector<data::SignedImage> images;
  for (std::int64_t i = 0; i < count; ++i)
    if (const auto& signature = found[static_cast<std::size_t>(i)])
      images.push_back({static_cast<std::uint32_t>(first + i), *signature});
  const std::string path = task.output + ".signatures";
  data::write_signatures(path, images);
  jobs::TaskDone result;
  result.counts = {{"in", count}, {"hashed", static_cast<std::int64_t>(images.size())}};
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

jobs::TaskDone NearPairsStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto inputs = inputs_of(task);
  context.stop->throw_if_stopped();
  const std::string path = task.output + ".near_pairs";
  jobs::TaskDone result;
  result.counts["pairs"] = data::write_near_pairs(
      inputs.ranges, static_cast<int>(settings_of(task).max_hash_distance), task.first, task.count, path);
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

jobs::TaskDone NearClustersStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto inputs = inputs_of(task);
  context.stop->throw_if_stopped();
  const std::string path = task.output + ".near_clusters.jsonl";
  const auto counts = data::write_near_clusters(inputs.ranges, inputs.pairs, path);
  jobs::TaskDone result;
  result.counts = {{"images", counts.images}, {"clusters", counts.clusters}, {"copies", counts.copies}};
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

}  // namespace trireme::worker::stages::near_duplicates
