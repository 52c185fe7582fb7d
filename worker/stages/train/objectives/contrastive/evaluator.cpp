#include "worker/stages/train/objectives/contrastive/evaluator.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "common/base/error.h"
#include "worker/embedding/texts.h"
#include "worker/evaluation/retrieval.h"
#include "worker/evaluation/zero_shot.h"

namespace trireme::worker::stages::train {
namespace {

// Part of the result's bits.
constexpr std::size_t kChunk = 32;          // samples
constexpr std::int64_t kTextsAtOnce = 128;  // of them, and prompts

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

bool labelled(const DataSet& set, const data::SamplePosition& sample) {
  return set.shards[static_cast<std::size_t>(sample.shard)].reader->label(sample.sample).has_value();
}

embedding::EncoderOptions encoding(const DataSet& set, const models::DualEncoder& encoder, bool texts,
                                   const std::string& device) {
  const auto& spec = encoder.spec();
  return {.text = texts,
          .stored_images = set.stored_images() && spec.image.frozen,
          .stored_texts = set.stored_texts() && spec.text.frozen,
          .project = true,
          .device = device,
          .classes = set.classes,
          .templates = set.templates,
          .texts_at_once = kTextsAtOnce};
}

}  // namespace

Evaluator::Evaluator(const DataSet& set, models::DualEncoder& encoder, collective::Group& group,
                     SlotPool& pool, std::string device)
    : set_(set),
      encoder_(encoder),
      group_(group),
      pool_(pool),
      device_(std::move(device)),
      samples_(set.positions()),
      labels_(labelled(set, samples_.front())),
      embed_(set.for_encoder(), encoder, encoding(set, encoder, !labels_, device_)) {
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
  const auto templates = embedding::prompt_templates(set_.shards.front().ref.path);
  return evaluation::zero_shot_metrics(
      all.image_nD, embedding::class_vectors(encoder_, device_, set_.classes, templates, kTextsAtOnce),
      all.label_n);
}

Evaluator::Chunk Evaluator::embed_chunk(std::size_t first, std::size_t last) {
  const auto width = encoder_.spec().embed_dim;
  Chunk chunk{at::zeros({0, width}), at::zeros({0, width}), at::zeros({0}, at::kLong),
              at::zeros({0}, at::kLong)};
  if (first >= last) return chunk;
  auto batch = embed_.encode({samples_.begin() + static_cast<std::ptrdiff_t>(first),
                              samples_.begin() + static_cast<std::ptrdiff_t>(last)});
  chunk.image_nD = std::move(batch.image);
  if (labels_)
    chunk.label_n = at::tensor(batch.labels, at::kLong);
  else
    chunk.text_mD = std::move(batch.text);
  chunk.owner_m = at::tensor(batch.owner, at::kLong);
  return chunk;
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
