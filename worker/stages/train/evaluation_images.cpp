#include "worker/stages/train/evaluation_images.h"

#include <ATen/ATen.h>

#include "worker/data/batches/image_batch.h"

namespace trireme::worker::stages::train {

std::vector<EvaluatedSample> evaluated_samples(const DataSet& set) {
  std::vector<EvaluatedSample> samples;
  for (std::size_t s = 0; s < set.shards.size(); ++s)
    for (const auto sample : set.shards[s].kept) samples.push_back({s, sample});
  return samples;
}

at::Tensor evaluation_images(const DataSet& set, const std::vector<EvaluatedSample>& samples,
                             const models::DualEncoder& encoder, std::vector<bool>& good) {
  const auto preprocess = encoder.image_preprocess();
  const auto side = preprocess.image_px;
  at::Tensor images = at::zeros({static_cast<std::int64_t>(samples.size()), 3, side, side}, at::kFloat);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    std::string storage;
    data::Image image;
    const auto bytes = set.shards[samples[i].shard].reader->image_bytes(samples[i].sample, storage);
    good[i] = data::decode_image(bytes, {}, image).empty();
    if (good[i])
      data::evaluation_view(image, preprocess,
                            images.data_ptr<float>() + static_cast<std::int64_t>(i) * 3 * side * side);
  }
  return images;
}

}  // namespace trireme::worker::stages::train
