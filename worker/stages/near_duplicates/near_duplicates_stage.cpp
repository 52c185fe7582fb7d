#include "worker/stages/near_duplicates/near_duplicates_stage.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "jobs/specification/job_spec.h"
#include "worker/data/batches/image_batch.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/tallies/near_captions.h"
#include "worker/data/tallies/near_duplicates.h"
#include "worker/runtime/parallel.h"
#include "worker/stages/near_duplicates/near_embeddings.h"
#include "worker/stages/near_duplicates/near_lists.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::near_duplicates {
namespace {

constexpr std::int64_t kLeastSide = 64;  // of the scaled decode

using Task = runtime::OpenTask<jobs::NearDuplicatesSettings>;

// Ranges of signatures, or by embedding of features.
std::vector<data::RangeOfSamples> ranges_of(const Task& task) {
  std::vector<data::RangeOfSamples> ranges;
  for (const auto& input : task.inputs.all(
           task.settings.by == jobs::NearBy::kEmbedding ? jobs::Role::kFeatures : jobs::Role::kSignatures))
    ranges.push_back({input.path, input.data, input.shard});
  return ranges;
}

std::unique_ptr<data::Comparable> samples_of(const Task& task,
                                             const std::vector<data::RangeOfSamples>& ranges) {
  const auto& settings = task.settings;
  if (settings.by == jobs::NearBy::kEmbedding) {
    const auto* lists = task.inputs.find(jobs::Role::kNearLists);
    return std::make_unique<NearEmbeddings>(ranges, settings.least_cosine,
                                            lists == nullptr ? "" : lists->path);
  }
  if (settings.by == jobs::NearBy::kCaption)
    return std::make_unique<data::NearCaptions>(ranges, settings.least_jaccard);
  return std::make_unique<data::NearImages>(ranges, static_cast<int>(settings.max_hash_distance));
}

std::int64_t sign_images(const Task& task, const data::ShardReader& shard, runtime::TaskContext& context) {
  const std::int64_t first = task.first(), count = task.size(shard);
  std::vector<std::optional<data::ImageSignature>> found(static_cast<std::size_t>(count));
  runtime::parallel_for(
      count, context.threads, context.stop,
      [&](std::int64_t i) {
        std::string storage;
        data::Image picture;
        const data::DecodeRequest request{.least_side_px = kLeastSide,
                                          .options = data::picture_options(shard)};
        if (data::decode_image(shard.image_bytes(first + i, storage), request, picture).empty())
          found[static_cast<std::size_t>(i)] = data::image_signature(picture);
      },
      [&](std::int64_t done) {
        if (context.progress) context.progress(done, count);
      });
  std::vector<data::SignedImage> images;
  for (std::int64_t i = 0; i < count; ++i)
    if (const auto& signature = found[static_cast<std::size_t>(i)])
      images.push_back({static_cast<std::uint32_t>(first + i), *signature});
  data::write_signatures(task.output(), images);
  return static_cast<std::int64_t>(images.size());
}

std::int64_t sign_captions(const Task& task, const data::ShardReader& shard, runtime::TaskContext& context) {
  const std::int64_t first = task.first(), count = task.size(shard);
  std::vector<data::ShingledSample> samples;
  for (std::int64_t i = 0; i < count; ++i) {
    context.stop->throw_if_stopped();
    std::vector<std::vector<std::string>> captions;
    for (const auto& caption : shard.captions(first + i)) captions.push_back(text::unigrams(caption));
    auto shingles = data::shingles_of(captions, task.settings.shingle_words);
    if (!shingles.empty()) samples.push_back({static_cast<std::uint32_t>(first + i), std::move(shingles)});
    if (context.progress) context.progress(i + 1, count);
  }
  data::write_shingles(task.output(), samples);
  return static_cast<std::int64_t>(samples.size());
}

}  // namespace

jobs::TaskDone SignaturesStage::work(const Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard = task.open_shard();
  jobs::TaskDone result;
  result.counts["in"] = task.size(shard);
  result.counts["hashed"] = task.settings.by == jobs::NearBy::kCaption ? sign_captions(task, shard, context)
                                                                       : sign_images(task, shard, context);
  return result;
}

jobs::TaskDone NearListsStage::work(const Task& task, runtime::TaskContext& context) {
  const NearEmbeddings images(ranges_of(task), task.settings.least_cosine);
  jobs::TaskDone result;
  const bool few = task.settings.search == jobs::SearchKind::kAuto && images.size() < lists_from_;
  if (few || images.size() == 0) {
    write_no_lists(task.output());
    return result;
  }
  const NearPromise promise = write_near_lists(
      images, task.settings.least_recall, [&] { context.stop->throw_if_stopped(); }, task.output());
  result.counts["held_back_pairs"] = promise.pairs;
  result.counts["lists_looked_at"] = promise.probes;
  return result;
}

jobs::TaskDone NearPairsStage::work(const Task& task, runtime::TaskContext& context) {
  const auto samples = samples_of(task, ranges_of(task));
  jobs::TaskDone result;
  result.counts["pairs"] = data::write_near_pairs(
      *samples, task.part(), task.parts(), [&] { context.stop->throw_if_stopped(); }, task.output());

  return result;
}

jobs::TaskDone NearClustersStage::work(const Task& task, runtime::TaskContext& context) {
  const auto ranges = ranges_of(task);
  const auto samples = samples_of(task, ranges);
  context.stop->throw_if_stopped();
  const auto counts = data::write_near_clusters(*samples, ranges, task.inputs.paths(jobs::Role::kNearPairs),
                                                std::string(name_of(task.settings.by)), task.output());
  jobs::TaskDone result;
  result.counts = {{"samples", counts.samples}, {"clusters", counts.clusters}, {"copies", counts.copies}};

  return result;
}

}  // namespace trireme::worker::stages::near_duplicates
