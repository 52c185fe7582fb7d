#include "worker/stages/embed/batch_encoder.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/data/batches/image_batch.h"
#include "worker/models/autocast.h"
#include "worker/models/encode_texts.h"

namespace trireme::worker::stages::embed {
namespace {

void check_width(const at::Tensor& features, std::int64_t width, const char* tower) {
  if (!features.defined() || features.size(1) == width) return;
  throw Error(ErrorKind::kInvalid,
              std::string("stored ") + tower + " features are " + std::to_string(features.size(1)) +
                  " wide, the model's tower gives " + std::to_string(width),
              "the embed stage and the train stage must name models with the same towers");
}

at::Tensor rows_of(const at::Tensor& features, const std::vector<std::int64_t>& rows) {
  return features.index_select(0, at::tensor(rows, at::kLong));
}

}  // namespace

BatchEncoder::BatchEncoder(const data::ShardReader& shard, models::DualEncoder& model, EncoderOptions options)
    : shard_(shard), model_(model), options_(std::move(options)) {
  const auto& stored = options_.stored;
  check_width(stored.image, model_.image_tower_width(), "image");
  check_width(stored.text, model_.text_tower_width(), "text");
  stored_row_ = checkpoint::rows_by_sample(stored);
  if (!stored.text.defined()) return;
  for (std::int64_t row = 0; row < stored.text.size(0); ++row) {
    stored_texts_[stored.text_owner[row].item<std::int64_t>()].push_back(row);
  }
}

EncodedBatch BatchEncoder::encode(const std::vector<std::int64_t>& samples) const {
  const at::NoGradGuard no_gradients;
  const models::Autocast autocast(options_.device, options_.bf16);
  EncodedBatch batch;
  if (!options_.image) {
    batch.samples = samples;
  } else if (options_.stored.image.defined()) {
    look_up_images(samples, batch);
  } else {
    encode_images(samples, batch);
  }
  for (const auto sample : batch.samples) batch.labels.push_back(shard_.label(sample).value_or(-1));
  if (!options_.text) return batch;
  if (options_.stored.text.defined()) {
    look_up_captions(batch);
  } else {
    encode_captions(batch);
  }
  return batch;
}

void BatchEncoder::encode_images(const std::vector<std::int64_t>& samples, EncodedBatch& batch) const {
  auto pictures = data::evaluation_batch(shard_, samples, model_.image_preprocess());
  for (const auto& [sample, fault] : pictures.faults) ++batch.bad[fault];
  batch.samples = std::move(pictures.samples);
  if (batch.samples.empty()) {
    batch.image =
        at::empty({0, options_.project ? model_.spec().embed_dim : model_.image_tower_width()}, at::kFloat);
    return;
  }
  const auto image = pictures.image_BCHW.to(at::Device(options_.device));
  batch.image =
      (options_.project ? model_.encode_image(image) : model_.image_features(image)).to(at::kCPU, at::kFloat);
}

void BatchEncoder::look_up_images(const std::vector<std::int64_t>& samples, EncodedBatch& batch) const {
  std::vector<std::int64_t> rows;
  for (const auto sample : samples) {
    const auto found = stored_row_.find(sample);
    if (found == stored_row_.end()) {
      ++batch.bad["no_stored_feature"];  // the embed stage could not decode it
      continue;
    }
    batch.samples.push_back(sample);
    rows.push_back(found->second);
  }
  batch.image = rows_of(options_.stored.image, rows);
  if (options_.project) batch.image = model_.project_image(batch.image.to(at::Device(options_.device))).cpu();
}

void BatchEncoder::encode_captions(EncodedBatch& batch) const {
  std::vector<std::string> captions;
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    for (auto& caption :
         data::captions_of(shard_, batch.samples[row], options_.classes, options_.templates)) {
      captions.push_back(std::move(caption));
      batch.owner.push_back(static_cast<std::int64_t>(row));
    }
  }
  auto encoded = models::encode_texts(model_, options_.device, captions, options_.project);
  batch.text = std::move(encoded.rows);
  batch.truncated = encoded.truncated;
}

void BatchEncoder::look_up_captions(EncodedBatch& batch) const {
  std::vector<std::int64_t> rows;
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    const auto stored = stored_row_.find(batch.samples[row]);
    if (stored == stored_row_.end()) continue;
    const auto texts = stored_texts_.find(stored->second);
    if (texts == stored_texts_.end()) continue;
    for (const auto text_row : texts->second) {
      rows.push_back(text_row);
      batch.owner.push_back(static_cast<std::int64_t>(row));
    }
  }
  batch.text = rows_of(options_.stored.text, rows);
  if (options_.project) batch.text = model_.project_text(batch.text.to(at::Device(options_.device))).cpu();
}

}  // namespace trireme::worker::stages::embed
