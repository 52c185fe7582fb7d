#include "worker/data/batches/image_batch.h"

#include <ATen/ATen.h>

namespace trireme::worker::data {

void evaluation_view(const Image& image, const jobs::ImagePreprocess& preprocess, float* out_CHW) {
  resize_and_center_crop(image, preprocess.resize_px, preprocess.image_px, {preprocess.mean, preprocess.std},
                         out_CHW, preprocess.bilinear ? Filter::kBilinear : Filter::kBicubic,
                         preprocess.square);
}

ImageBatch evaluation_batch(const ShardReader& shard, const std::vector<std::int64_t>& samples,
                            const jobs::ImagePreprocess& preprocess) {
  const auto side = preprocess.image_px;
  ImageBatch batch;
  const at::Tensor room = at::empty({static_cast<std::int64_t>(samples.size()), 3, side, side}, at::kFloat);
  float* next = room.data_ptr<float>();
  std::string storage;
  for (const std::int64_t sample : samples) {
    Image picture;
    std::string fault = decode_image(shard.image_bytes(sample, storage), {}, picture);
    if (!fault.empty()) {
      batch.faults.emplace_back(sample, std::move(fault));
      continue;
    }
    evaluation_view(picture, preprocess, next);
    next += 3 * side * side;
    batch.samples.push_back(sample);
  }
  batch.image_BCHW = room.narrow(0, 0, static_cast<std::int64_t>(batch.samples.size()));
  return batch;
}

}  // namespace trireme::worker::data
