#include "worker/stages/near_duplicates/near_duplicates_stage.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/near_captions.h"
#include "worker/data/tallies/near_duplicates.h"
#include "worker/runtime/parallel.h"
#include "worker/runtime/task_inputs.h"
#include "worker/stages/near_duplicates/near_embeddings.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::near_duplicates {
namespace {

constexpr std::int64_t kLeastSide = 64;  // of the scaled decode

jobs::NearDuplicatesSettings settings_of(const jobs::Task& task) {
  return std::get<jobs::NearDuplicatesSettings>(jobs::settings_from_json("near_duplicates", task.settings));
}

struct Inputs {
  std::vector<data::RangeOfSamples> ranges;
  std::vector<std::string> pairs;
};

Inputs inputs_of(const jobs::Task& task) {
  Inputs inputs;
  for (const auto& line : runtime::read_inputs(task)) {
    if (!line.input) continue;
    const std::string& path = line.input->path;
    if (path.ends_with(".signatures") || path.ends_with(".features.safetensors"))
      inputs.ranges.push_back({path, line.input->data, line.input->shard});
    if (path.ends_with(".near_pairs")) inputs.pairs.push_back(path);
  }
  return inputs;
}

std::unique_ptr<data::Comparable> samples_of(const std::vector<data::RangeOfSamples>& ranges,
                                             const jobs::NearDuplicatesSettings& settings) {
  if (settings.by == "embedding") return std::make_unique<NearEmbeddings>(ranges, settings.least_cosine);
  if (settings.by == "caption") return std::make_unique<data::NearCaptions>(ranges, settings.least_jaccard);
  return std::make_unique<data::NearImages>(ranges, static_cast<int>(settings.max_hash_distance));
}

std::int64_t sign_images(const jobs::Task& task, const data::ShardReader& shard, std::int64_t count,
                         const std::string& path, runtime::TaskContext& context) {
  std::vector<std::optional<data::ImageSignature>> found(static_cast<std::size_t>(count));
  runtime::parallel_for(
      count, context.threads, context.stop,
      [&](std::int64_t i) {
        std::string storage;
        data::Image picture;
        if (data::decode_image(shard.image_bytes(task.first + i, storage), {.least_side_px = kLeastSide},
                               picture)
                .empty())
          found[static_cast<std::size_t>(i)] = data::image_signature(picture);
      },
      [&](std::int64_t done) {
        if (context.progress) context.progress(done, count);
      });
  std::vector<data::SignedImage> images;
  for (std::int64_t i = 0; i < count; ++i)
    if (const auto& signature = found[static_cast<std::size_t>(i)])
      images.push_back({static_cast<std::uint32_t>(task.first + i), *signature});
  data::write_signatures(path, images);
  return static_cast<std::int64_t>(images.size());
}

std::int64_t sign_captions(const jobs::Task& task, const data::ShardReader& shard, std::int64_t count,
                           std::int64_t words, const std::string& path, runtime::TaskContext& context) {
  std::vector<data::ShingledSample> samples;
  for (std::int64_t i = 0; i < count; ++i) {
    context.stop->throw_if_stopped();
    std::vector<std::vector<std::string>> captions;
    for (const auto& caption : shard.captions(task.first + i)) captions.push_back(text::unigrams(caption));
    auto shingles = data::shingles_of(captions, words);
    if (!shingles.empty())
      samples.push_back({static_cast<std::uint32_t>(task.first + i), std::move(shingles)});
    if (context.progress) context.progress(i + 1, count);
  }
  data::write_shingles(path, samples);
  return static_cast<std::int64_t>(samples.size());
}

}  // namespace

jobs::TaskDone SignaturesStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings = settings_of(task);
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::int64_t count = std::max<std::int64_t>(0, std::min(task.count, shard.size() - task.first));
  const std::string path = task.output + ".signatures";
  jobs::TaskDone result;
  result.counts["in"] = count;
  result.counts["hashed"] = settings.by == "caption"
                                ? sign_captions(task, shard, count, settings.shingle_words, path, context)
                                : sign_images(task, shard, count, path, context);
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

jobs::TaskDone NearPairsStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto samples = samples_of(inputs_of(task).ranges, settings_of(task));
  const std::string path = task.output + ".near_pairs";
  jobs::TaskDone result;
  result.counts["pairs"] = data::write_near_pairs(
      *samples, task.first, task.count, [&] { context.stop->throw_if_stopped(); }, path);
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

jobs::TaskDone NearClustersStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto inputs = inputs_of(task);
  const auto settings = settings_of(task);
  const auto samples = samples_of(inputs.ranges, settings);
  context.stop->throw_if_stopped();
  const std::string path = task.output + ".near_clusters.jsonl";
  const auto counts = data::write_near_clusters(*samples, inputs.ranges, inputs.pairs, settings.by, path);
  jobs::TaskDone result;
  result.counts = {{"samples", counts.samples}, {"clusters", counts.clusters}, {"copies", counts.copies}};
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

}  // namespace trireme::worker::stages::near_duplicates
