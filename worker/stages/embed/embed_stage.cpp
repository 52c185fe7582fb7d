#include "worker/stages/embed/embed_stage.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "jobs/layouts/line_list.h"
#include "jobs/specification/job_spec.h"
#include "worker/checkpoint/features.h"
#include "worker/embedding/encoder.h"
#include "worker/runtime/batches.h"

namespace trireme::worker::stages::embed {
namespace {

constexpr std::int64_t kSharedBatch = 64;

using Task = runtime::OpenTask<jobs::EmbedSettings>;

struct Plan {
  embedding::EncoderOptions options;
  std::int64_t batch = kSharedBatch;
};

Plan plan_towers(const Task& task, const jobs::ModelSpec& spec) {
  const auto& settings = task.settings;
  Plan plan;
  plan.batch = settings.batch;
  plan.options.image = spec.image.frozen;
  plan.options.text = spec.text.frozen;
  plan.options.caption_prompt = settings.caption_prompt;
  plan.options.bf16 = settings.precision == jobs::Precision::kBf16;
  if (!spec.image.frozen && !spec.text.frozen) {
    throw Error(
        ErrorKind::kInvalid,
        "stage '" + task.stage() + "' embeds with model '" + settings.model + "', which has no frozen tower",
        "set frozen of its image or text tower, or leave the embed stage out");
  }
  const auto data = task.data();
  plan.options.classes = data.classes.empty() ? jobs::class_names_near(task.shard().path) : data.classes;
  plan.options.templates = data.caption_templates;
  return plan;
}

Plan plan_shared(const Task& task, const jobs::ModelSpec& spec, const embedding::FeatureTable& stored) {
  Plan plan;
  plan.options.project = !task.settings.tower_output;
  // Features stored by another stage stand for a tower only while training left it as it was.
  plan.options.stored_images = spec.image.frozen && stored.has_images();
  plan.options.caption_prompt = task.settings.caption_prompt;
  plan.options.stored_texts = spec.text.frozen && stored.has_texts() && plan.options.caption_prompt.empty();
  return plan;
}

// Batches in order, as one set of features.
checkpoint::Features assembled(const std::vector<embedding::EncodedBatch>& batches,
                               const embedding::EncoderOptions& options, const models::DualEncoder& model) {
  std::vector<std::int64_t> samples, owners, labels;
  const auto width = [&](std::int64_t tower) { return options.project ? model.spec().embed_dim : tower; };
  std::vector<at::Tensor> image = {at::empty({0, width(model.image_tower_width())}, at::kFloat)};
  std::vector<at::Tensor> text = {at::empty({0, width(model.text_tower_width())}, at::kFloat)};
  for (const auto& batch : batches) {
    const auto first_row = static_cast<std::int64_t>(samples.size());
    for (const auto owner : batch.owner) owners.push_back(first_row + owner);
    for (const auto& sample : batch.samples) samples.push_back(sample.sample);
    labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
    if (batch.image.defined()) image.push_back(batch.image);
    if (batch.text.defined()) text.push_back(batch.text);
  }
  const bool labelled =
      std::any_of(labels.begin(), labels.end(), [](std::int64_t label) { return label >= 0; });
  checkpoint::Features features;
  features.space = options.project ? "shared" : "tower";
  features.sample = at::tensor(samples, at::kLong);
  if (options.image) features.image = at::cat(image);
  if (options.text) {
    features.text = at::cat(text);
    features.text_owner = at::tensor(owners, at::kLong);
  }
  if (labelled) features.label = at::tensor(labels, at::kLong);
  return features;
}

std::map<std::string, std::int64_t> counts_of(const std::vector<embedding::EncodedBatch>& batches,
                                              std::size_t in) {
  std::map<std::string, std::int64_t> counts = {
      {"in", static_cast<std::int64_t>(in)}, {"embedded", 0}, {"captions", 0}, {"truncated_captions", 0}};
  for (const auto& batch : batches) {
    counts["embedded"] += static_cast<std::int64_t>(batch.samples.size());
    counts["captions"] += static_cast<std::int64_t>(batch.owner.size());
    counts["truncated_captions"] += batch.truncated;
    for (const auto& [reason, count] : batch.bad) counts["bad." + reason] += count;
  }
  return counts;
}

// Pictures for several models, none of which is run here.
jobs::TaskDone keep_pictures(const Task& task, runtime::TaskContext& context) {
  const data::ShardReader shard = task.open_shard();
  const auto preprocess = jobs::image_preprocess(jobs::model_from_json(task.message.model).image);
  const auto parts = runtime::by_batches(
      task.kept(shard), kSharedBatch, context,
      [&](const runtime::Samples& some) { return embedding::decoded_pictures(shard, some, preprocess); });
  embedding::write_pictures(task.output(), parts, preprocess);
  jobs::TaskDone done;
  for (const auto& part : parts) {
    done.counts["decoded"] += static_cast<std::int64_t>(part.sample.size());
    done.counts["undecodable"] += static_cast<std::int64_t>(part.faults.size());
  }
  return done;
}

}  // namespace

jobs::TaskDone EmbedStage::work(const Task& task, runtime::TaskContext& context) {
  if (task.settings.model.empty()) return keep_pictures(task, context);
  const bool shared = task.inputs.find(jobs::Role::kModel) != nullptr;
  const data::ShardReader shard = task.open_shard();
  auto& model = model_.get(task.message, context.device);
  const embedding::FeatureTable stored(task.inputs.paths(jobs::Role::kFeatures), shard.size());
  Plan plan = shared ? plan_shared(task, model.spec(), stored) : plan_towers(task, model.spec());
  plan.options.device = context.device;
  const auto samples = task.kept(shard);
  const embedding::KeptPictures pictures(task.inputs.paths(jobs::Role::kFeatures), model.image_preprocess());
  const bool kept = pictures.usable() && plan.options.image && !plan.options.stored_images;
  const embedding::Encoder encoder({{&shard, &stored, kept ? &pictures : nullptr}}, model, plan.options);
  const auto batches = runtime::by_batches(samples, plan.batch, context, [&](const runtime::Samples& some) {
    return encoder.encode(embedding::of_one_shard(some));
  });
  checkpoint::write_features(task.output(), assembled(batches, plan.options, model));
  jobs::TaskDone result;
  result.counts = counts_of(batches, samples.size());
  if (kept) result.counts["kept_pictures"] = result.counts["embedded"];
  return result;
}

}  // namespace trireme::worker::stages::embed
