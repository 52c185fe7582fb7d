#include "worker/embedding/encoder.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "common/base/error.h"
#include "common/io/machine/in_hand.h"
#include "jobs/specification/prompt_template.h"
#include "worker/data/batches/image_batch.h"
#include "worker/embedding/texts.h"
#include "worker/models/autocast.h"

namespace trireme::worker::embedding {
namespace {

at::Tensor copied(const std::vector<const float*>& rows, std::int64_t width) {
  at::Tensor all = at::empty({static_cast<std::int64_t>(rows.size()), width}, at::kFloat);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(rows[i], width, all.data_ptr<float>() + static_cast<std::int64_t>(i) * width);
  return all;
}

const Shard& shard_of(const std::vector<Shard>& shards, const data::SamplePosition& sample) {
  return shards[static_cast<std::size_t>(sample.shard)];
}

ImageRows stored_rows(const std::vector<Shard>& shards, const std::vector<data::SamplePosition>& samples,
                      const ImageTower& tower, const std::string& device) {
  ImageRows found;
  std::vector<const float*> rows;
  for (const auto& sample : samples) {
    const float* row = shard_of(shards, sample).stored->image(sample.sample);
    if (row == nullptr) {
      found.faults.emplace_back(sample, "no_stored_feature");
      continue;
    }
    found.samples.push_back(sample);
    rows.push_back(row);
  }
  found.features_bT = copied(rows, tower.width).to(at::Device(device));
  return found;
}

data::ImageBatch decoded(const std::vector<Shard>& shards, const std::vector<data::SamplePosition>& samples,
                         const ImageTower& tower) {
  if (shards.size() == 1 && shards.front().pictures != nullptr) {
    std::vector<std::int64_t> positions;
    for (const auto& sample : samples) positions.push_back(sample.sample);
    return shards.front().pictures->batch(positions);
  }
  const auto bytes = [&](std::size_t i, std::string& storage) {
    return data::encoded_picture(*shard_of(shards, samples[i]).reader, samples[i].sample, storage);
  };
  return data::evaluation_batch(samples.size(), bytes, tower.preprocess);
}

}  // namespace

void check_width(std::int64_t stored, std::int64_t width, const char* tower) {
  if (stored == width) return;
  throw Error(ErrorKind::kInvalid,
              std::string("stored ") + tower + " features are " + std::to_string(stored) +
                  " wide, the model's tower gives " + std::to_string(width),
              "the embed stage and the stage that reads its features must name models with the same towers");
}

std::vector<data::SamplePosition> of_one_shard(const std::vector<std::int64_t>& samples) {
  std::vector<data::SamplePosition> positions;
  for (const auto sample : samples) positions.push_back({0, sample});
  return positions;
}

ImageRows image_rows(const std::vector<Shard>& shards, const std::vector<data::SamplePosition>& samples,
                     const ImageTower& tower, const std::string& device) {
  const at::NoGradGuard no_gradients;
  if (tower.stored) return stored_rows(shards, samples, tower, device);
  ImageRows found;
  auto pictures = decoded(shards, samples, tower);
  for (auto& [i, fault] : pictures.faults) found.faults.emplace_back(samples[i], std::move(fault));
  for (const std::size_t i : pictures.rows) found.samples.push_back(samples[i]);
  std::vector<std::string> keys;
  for (const auto& sample : found.samples)
    keys.push_back(shard_of(shards, sample).reader->key(sample.sample));
  io::take_together(keys);
  found.features_bT = found.samples.empty() ? at::empty({0, tower.width}, at::kFloat).to(at::Device(device))
                                            : tower.run(pictures.image_BCHW.to(at::Device(device)));
  return found;
}

Encoder::Encoder(std::vector<Shard> shards, models::DualEncoder& model, EncoderOptions options)
    : shards_(std::move(shards)), model_(model), options_(std::move(options)) {
  for (const auto& shard : shards_) {
    if (options_.stored_images) check_width(shard.stored->image_width(), model_.image_tower_width(), "image");
    if (options_.stored_texts) check_width(shard.stored->text_width(), model_.text_tower_width(), "text");
  }
  tower_ = {model_.image_preprocess(), model_.image_tower_width(), options_.stored_images,
            [&model](const at::Tensor& image_BCHW) { return model.image_features(image_BCHW); }};
}

EncodedBatch Encoder::encode(const std::vector<data::SamplePosition>& samples) const {
  const at::NoGradGuard no_gradients;
  const models::Autocast autocast(options_.device, options_.bf16);
  EncodedBatch batch;
  if (options_.image)
    encode_images(samples, batch);
  else
    batch.samples = samples;
  for (const auto& sample : batch.samples)
    batch.labels.push_back(shard_of(shards_, sample).reader->label(sample.sample).value_or(-1));
  if (!options_.text) return batch;
  if (options_.stored_texts)
    look_up_captions(batch);
  else
    encode_captions(batch);
  return batch;
}

void Encoder::encode_images(const std::vector<data::SamplePosition>& samples, EncodedBatch& batch) const {
  auto found = image_rows(shards_, samples, tower_, options_.device);
  for (const auto& [sample, fault] : found.faults) ++batch.bad[fault];
  batch.samples = std::move(found.samples);
  batch.image = options_.project ? project_images(model_, options_.device, found.features_bT)
                                 : found.features_bT.to(at::kCPU, at::kFloat);
}

void Encoder::encode_captions(EncodedBatch& batch) const {
  std::vector<std::string> captions;
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    const auto& sample = batch.samples[row];
    for (auto& caption : data::captions_of(*shard_of(shards_, sample).reader, sample.sample, options_.classes,
                                           options_.templates)) {
      captions.push_back(options_.caption_prompt.empty()
                             ? std::move(caption)
                             : jobs::filled_prompt(options_.caption_prompt, caption));
      batch.owner.push_back(static_cast<std::int64_t>(row));
    }
  }
  auto encoded = encode_texts(model_, options_.device, captions, options_.project, options_.texts_at_once);
  batch.text = std::move(encoded.rows);
  batch.truncated = encoded.truncated;
}

void Encoder::look_up_captions(EncodedBatch& batch) const {
  std::vector<const float*> rows;
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    const auto& sample = batch.samples[row];
    const FeatureTable& stored = *shard_of(shards_, sample).stored;
    for (std::int64_t caption = 0; caption < stored.captions(sample.sample); ++caption) {
      rows.push_back(stored.text(sample.sample, caption));
      batch.owner.push_back(static_cast<std::int64_t>(row));
    }
  }
  batch.text = copied(rows, model_.text_tower_width());
  if (options_.project) batch.text = project_texts(model_, options_.device, batch.text);
}

at::Tensor project_images(models::DualEncoder& model, const std::string& device, const at::Tensor& rows_nT) {
  const at::NoGradGuard no_gradients;
  return model.project_image(rows_nT.to(at::Device(device))).to(at::kCPU, at::kFloat);
}

at::Tensor project_texts(models::DualEncoder& model, const std::string& device, const at::Tensor& rows_nT) {
  const at::NoGradGuard no_gradients;
  return model.project_text(rows_nT.to(at::Device(device))).to(at::kCPU, at::kFloat);
}

}  // namespace trireme::worker::embedding
