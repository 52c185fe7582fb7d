#include "worker/stages/train/objectives/contrastive/pair_inputs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "common/base/processor_time.h"
#include "common/base/random.h"
#include "worker/data/batches/device_images.h"
#include "worker/kernels/sent.h"

namespace trireme::worker::stages::train {
namespace {

at::Tensor feature_rows(const data::SlotBatch& batch, std::int64_t width,
                        const std::function<const float*(std::size_t)>& row,
                        std::vector<std::uint8_t>& live) {
  at::Tensor features = at::zeros({static_cast<std::int64_t>(batch.samples.size()), width}, at::kFloat);
  for (std::size_t i = 0; i < batch.samples.size(); ++i) {
    if (live[i] == 0) continue;
    const float* from = row(i);
    if (from == nullptr)
      live[i] = 0;
    else
      std::copy_n(from, width, features.data_ptr<float>() + static_cast<std::int64_t>(i) * width);
  }
  return features;
}

const embedding::FeatureTable& table_of(const DataSet& set, const data::SamplePosition& sample) {
  return *set.shards[static_cast<std::size_t>(sample.shard)].features;
}

const embedding::FeatureTable& any_table(const DataSet& set) {
  return *std::find_if(set.shards.begin(), set.shards.end(), [](const DataShard& shard) {
            return !shard.kept.empty();
          })->features;
}

// body(row) for the stored image features of every kept sample.
template <class Body>
void each_image(const DataSet& set, Body body) {
  for (const auto& shard : set.shards)
    for (const auto sample : shard.kept)
      if (const float* row = shard.features->image(sample); row != nullptr) body(row);
}

// A sample without a label has one of its own.
at::Tensor labels_of(const DataSet& set, const data::SlotBatch& batch) {
  std::vector<std::int64_t> labels;
  for (const auto& sample : batch.samples) {
    const auto own = -1 - ((sample.shard << 32) + sample.sample);
    labels.push_back(
        sample.sample < 0
            ? own
            : set.shards[static_cast<std::size_t>(sample.shard)].reader->label(sample.sample).value_or(own));
  }
  return at::tensor(labels, at::kLong);
}

}  // namespace

void drop_features(at::Tensor& features_BT, const at::Tensor& mean_T, double p, std::uint64_t seed,
                   std::int64_t step, std::int64_t slot) {
  RandomStream random(seed, RandomPurpose::kDropout, static_cast<std::uint64_t>(step),
                      static_cast<std::uint32_t>(slot));
  const auto threshold = static_cast<std::uint32_t>(p * 4294967296.0);  // dropped below
  const auto scale = static_cast<float>(1 / (1 - p));
  const auto width = features_BT.size(1);
  const float* mean = mean_T.const_data_ptr<float>();
  float* value = features_BT.data_ptr<float>();
  for (std::int64_t row = 0; row < features_BT.size(0); ++row)
    for (std::int64_t t = 0; t < width; ++t, ++value)
      *value = random.next_u32() < threshold ? mean[t] : mean[t] + (*value - mean[t]) * scale;
}

namespace {

// What the batch's slot looks at, one of pixels and stored features.
void add_images(const DataSet& set, data::SlotBatch& batch, const PairInputOptions& options,
                SlotInput& input) {
  if (!options.stored_images) {
    input.image_BCHW = data::images_on(batch, options.normalization, at::Device(options.device));
    return;
  }
  input.image_features_BT = feature_rows(
      batch, any_table(set).image_width(),
      [&](std::size_t i) { return table_of(set, batch.samples[i]).image(batch.samples[i].sample); },
      batch.live);
  if (options.feature_dropout > 0)
    drop_features(input.image_features_BT, options.image_mean_T, options.feature_dropout, options.seed,
                  input.step, input.slot);
  input.image_features_BT = kernels::sent_to(input.image_features_BT, at::Device(options.device));
}

// Raw texts or synthetic captions, or both; of each one of tokens and stored features.
void add_texts(const DataSet& set, const models::DualEncoder& encoder, data::SlotBatch& batch,
               const PairInputOptions& options, SlotInput& input) {
  const auto tokens_of = [&](const std::vector<std::string>& texts) {
    return kernels::sent_to(
        models::tokenize(encoder.tokenizer(), texts, encoder.spec().text.context).tokens_NL,
        at::Device(options.device));
  };
  const auto own = options.texts.own_caption;
  const auto stored = [&](bool synthetic) {
    const auto row = [&](std::size_t i) {
      const auto& sample = batch.samples[i];
      if (synthetic) return table_of(set, sample).text(sample.sample, own);
      const auto owner = set.text_owner(static_cast<std::size_t>(sample.shard), sample.sample);
      return table_of(set, owner).text(owner.sample, batch.caption_choice[i]);
    };
    return kernels::sent_to(feature_rows(batch, any_table(set).text_width(), row, batch.live),
                            at::Device(options.device));
  };
  const bool caption_only = !options.texts.raw;
  if (options.stored_texts)
    input.text_features_BT = stored(caption_only);
  else
    input.tokens_BL = tokens_of(caption_only ? batch.synthetic_captions : batch.captions);
  if (caption_only || !options.texts.synthetic) return;
  if (options.stored_texts && own >= 0)
    input.caption_features_BT = stored(true);
  else
    input.caption_tokens_BL = tokens_of(batch.synthetic_captions);
}

}  // namespace

SlotInput pair_input(const DataSet& set, const models::DualEncoder& encoder, data::SlotBatch& batch,
                     const PairInputOptions& options, std::int64_t step, std::int64_t slot,
                     std::map<std::string, std::int64_t>& counts) {
  SlotInput input;
  input.seed = options.seed;
  input.step = step;
  input.slot = slot;
  add_images(set, batch, options, input);
  add_texts(set, encoder, batch, options, input);
  if (options.labels) input.label_B = labels_of(set, batch);
  const double begin = thread_seconds();
  for (const auto& source : options.concepts) {
    auto targets = concept_targets(set, source, batch, counts);
    const at::Device device(options.device);
    input.targets.push_back(
        {kernels::sent_to(targets.index_Bk, device), kernels::sent_to(targets.weight_Bk, device)});
  }
  input.target_seconds = thread_seconds() - begin;
  input.live_B = at::tensor(at::ArrayRef<std::uint8_t>(batch.live), at::kByte);
  return input;
}

Standardization image_standardization(const DataSet& set) {
  const auto width = any_table(set).image_width();
  std::vector<double> mean(static_cast<std::size_t>(width)), squares(static_cast<std::size_t>(width));
  std::int64_t n = 0;
  each_image(set, [&](const float* row) {
    ++n;
    for (std::size_t t = 0; t < mean.size(); ++t) mean[t] += static_cast<double>(row[t]);
  });
  for (auto& value : mean) value /= static_cast<double>(std::max<std::int64_t>(1, n));
  each_image(set, [&](const float* row) {
    for (std::size_t t = 0; t < mean.size(); ++t) {
      const double away = static_cast<double>(row[t]) - mean[t];
      squares[t] += away * away;
    }
  });
  Standardization result{at::empty({width}, at::kFloat), at::empty({width}, at::kFloat)};
  const auto freedom = static_cast<double>(std::max<std::int64_t>(1, n - 1));
  for (std::size_t t = 0; t < mean.size(); ++t) {
    result.mean_T.data_ptr<float>()[t] = static_cast<float>(mean[t]);
    result.inverse_std_T.data_ptr<float>()[t] =
        static_cast<float>(1 / (std::sqrt(squares[t] / freedom) + 1e-3));
  }
  return result;
}

}  // namespace trireme::worker::stages::train
