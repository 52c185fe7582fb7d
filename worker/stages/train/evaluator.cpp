#include "worker/stages/train/evaluator.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "common/base/error.h"
#include "jobs/layouts/line_list.h"
#include "worker/evaluation/retrieval.h"
#include "worker/evaluation/zero_shot.h"

namespace trireme::worker::stages::train {
namespace {

constexpr std::size_t kChunk = 32;  // samples; part of the result's bits

// [n, …] of each rank to [sum of n, …], ranks in order.
at::Tensor gather_rows(const at::Tensor& own, collective::Group& group) {
  const at::Tensor counts = group.all_gather(at::full({1}, own.size(0), at::kLong));
  const auto most = counts.max().item<std::int64_t>();
  if (most == 0) return own;
  auto shape = own.sizes().vec();
  shape[0] = most;
  at::Tensor padded = at::zeros(shape, own.options());
  padded.narrow(0, 0, own.size(0)).copy_(own);
  const at::Tensor all = group.all_gather(padded);
  std::vector<at::Tensor> parts;
  for (int r = 0; r < group.size(); ++r)
    parts.push_back(all.narrow(0, r * most, counts[r].item<std::int64_t>()));
  return at::cat(parts);
}

}  // namespace

Evaluator::Evaluator(const DataSet& set, models::DualEncoder& encoder, collective::Group& group,
                     SlotPool& pool, std::string device)
    : set_(set),
      encoder_(encoder),
      group_(group),
      pool_(pool),
      device_(std::move(device)),
      samples_(evaluated_samples(set)) {
  labels_ = set.shards[samples_.front().shard].reader->label(samples_.front().sample).has_value();
  if (labels_ && set.classes.empty())
    throw Error(ErrorKind::kInvalid, "the evaluation data are labelled but name no classes",
                "put classnames.txt beside the shards, or 'classes' into the data set");
}

evaluation::Metrics Evaluator::run() {
  const at::NoGradGuard no_grad;
  const auto chunks = (samples_.size() + kChunk - 1) / kChunk;
  const auto ranks = static_cast<std::size_t>(group_.size());
  const auto per_rank = (chunks + ranks - 1) / ranks;  // rank r has chunks [r * per_rank, …)
  std::vector<Chunk> own(per_rank);
  pool_.for_each(static_cast<std::int64_t>(per_rank), [&](std::int64_t i) {
    const at::NoGradGuard no_grad_here;
    const auto chunk = static_cast<std::size_t>(group_.rank()) * per_rank + static_cast<std::size_t>(i);
    const auto first = std::min(samples_.size(), chunk * kChunk);
    own[static_cast<std::size_t>(i)] = embed_chunk(first, std::min(samples_.size(), first + kChunk));
  });
  const Chunk all = gather(own);
  if (!labels_) {
    std::vector<std::int64_t> ks;
    for (const std::int64_t k : {1, 5, 10})
      if (k <= std::min(all.image_nD.size(0), all.text_mD.size(0))) ks.push_back(k);
    return evaluation::retrieval_recall(all.image_nD, all.text_mD, all.owner_m, ks);
  }
  auto templates = jobs::class_templates_near(set_.shards.front().ref.path);
  if (templates.empty()) templates = {"a photo of a {c}."};
  const at::Tensor prompts = embed_prompts(evaluation::class_prompts(set_.classes, templates));
  const auto classes = static_cast<std::int64_t>(set_.classes.size());
  return evaluation::zero_shot_metrics(all.image_nD, evaluation::class_embeddings(prompts, classes),
                                       all.label_n);
}

Evaluator::Chunk Evaluator::embed_chunk(std::size_t first, std::size_t last) {
  const auto width = encoder_.spec().embed_dim;
  Chunk chunk{at::zeros({0, width}), at::zeros({0, width}), at::zeros({0}, at::kLong),
              at::zeros({0}, at::kLong)};
  if (first >= last) return chunk;
  const std::vector<EvaluatedSample> samples(samples_.begin() + static_cast<std::ptrdiff_t>(first),
                                             samples_.begin() + static_cast<std::ptrdiff_t>(last));
  std::vector<bool> good(samples.size(), true);
  chunk.image_nD = embed_images(samples, good);
  if (!labels_) {
    chunk.text_mD = embed_texts(samples, good, chunk.owner_m);
    return chunk;
  }
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < samples.size(); ++i)
    if (good[i])
      labels.push_back(set_.shards[samples[i].shard].reader->label(samples[i].sample).value_or(-1));
  chunk.label_n = at::tensor(labels, at::kLong);
  return chunk;
}

at::Tensor Evaluator::embed_images(const std::vector<EvaluatedSample>& samples, std::vector<bool>& good) {
  at::Tensor features;
  if (set_.stored_images() && encoder_.spec().image.frozen) {
    const auto width = encoder_.image_tower_width();
    features = at::zeros({static_cast<std::int64_t>(samples.size()), width}, at::kFloat);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const float* row = set_.shards[samples[i].shard].features->image(samples[i].sample);
      good[i] = row != nullptr;
      if (row != nullptr)
        std::copy_n(row, width, features.data_ptr<float>() + static_cast<std::int64_t>(i) * width);
    }
    features = features.to(device_);
  } else {
    features = encoder_.image_features(evaluation_images(set_, samples, encoder_, good).to(device_));
  }
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < samples.size(); ++i)
    if (good[i]) rows.push_back(static_cast<std::int64_t>(i));
  return encoder_.project_image(features).cpu().index_select(0, at::tensor(rows, at::kLong));
}

at::Tensor Evaluator::embed_texts(const std::vector<EvaluatedSample>& samples, const std::vector<bool>& good,
                                  at::Tensor& owner) {
  const bool stored = set_.stored_texts() && encoder_.spec().text.frozen;
  std::vector<std::int64_t> owners;
  std::vector<std::string> captions;
  std::vector<const float*> rows;
  std::int64_t row = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (!good[i]) continue;
    const auto& shard = set_.shards[samples[i].shard];
    if (stored)
      for (std::int64_t c = 0; c < shard.features->captions(samples[i].sample); ++c)
        rows.push_back(shard.features->text(samples[i].sample, c));
    else
      for (auto& caption : set_.captions(samples[i].shard, samples[i].sample))
        captions.push_back(std::move(caption));
    owners.resize(std::max(rows.size(), captions.size()), row);
    ++row;
  }
  owner = at::tensor(owners, at::kLong);
  if (owners.empty()) return at::zeros({0, encoder_.spec().embed_dim});
  if (!stored) return embed_prompts(captions);
  const auto width = encoder_.text_tower_width();
  at::Tensor features = at::empty({static_cast<std::int64_t>(rows.size()), width}, at::kFloat);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(rows[i], width, features.data_ptr<float>() + static_cast<std::int64_t>(i) * width);
  return encoder_.project_text(features.to(device_)).cpu();
}

at::Tensor Evaluator::embed_prompts(const std::vector<std::string>& prompts) {
  std::vector<at::Tensor> parts;
  for (std::size_t first = 0; first < prompts.size(); first += 4 * kChunk) {
    const auto last = std::min(prompts.size(), first + 4 * kChunk);
    const std::vector<std::string> part(prompts.begin() + static_cast<std::ptrdiff_t>(first),
                                        prompts.begin() + static_cast<std::ptrdiff_t>(last));
    const auto tokens = models::tokenize(encoder_.tokenizer(), part, encoder_.spec().text.context).tokens_NL;
    parts.push_back(encoder_.encode_text(tokens.to(device_)).cpu());
  }
  return at::cat(parts);
}

// Rows of all chunks in sample order, on every rank; owners become rows of the whole.
Evaluator::Chunk Evaluator::gather(const std::vector<Chunk>& own) {
  std::vector<at::Tensor> images, texts, owners, labels;
  std::int64_t before = 0;
  for (const auto& chunk : own) {
    images.push_back(chunk.image_nD);
    texts.push_back(chunk.text_mD);
    owners.push_back(chunk.owner_m + before);
    labels.push_back(chunk.label_n);
    before += chunk.image_nD.size(0);
  }
  const at::Tensor counts = group_.all_gather(at::full({1}, before, at::kLong));
  const auto offset = counts.narrow(0, 0, group_.rank()).sum().item<std::int64_t>();
  return {gather_rows(at::cat(images), group_), gather_rows(at::cat(texts), group_),
          gather_rows(at::cat(owners) + offset, group_), gather_rows(at::cat(labels), group_)};
}

}  // namespace trireme::worker::stages::train
