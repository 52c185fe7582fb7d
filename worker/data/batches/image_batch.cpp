#include "worker/data/batches/image_batch.h"

#include <ATen/ATen.h>

namespace trireme::worker::data {

void evaluation_view(const Image& image, const jobs::ImagePreprocess& preprocess, float* out_CHW) {
  resize_and_center_crop(image, preprocess.resize_px, preprocess.image_px, {preprocess.mean, preprocess.std},
                         out_CHW, preprocess.bilinear ? Filter::kBilinear : Filter::kBicubic,
                         preprocess.square);
}

ImageBatch evaluation_batch(std::size_t count, const PictureBytes& bytes,
                            const jobs::ImagePreprocess& preprocess) {
  const auto side = preprocess.image_px;
  ImageBatch batch;
  const at::Tensor room = at::empty({static_cast<std::int64_t>(count), 3, side, side}, at::kFloat);
  float* next = room.data_ptr<float>();
  std::string storage;
  for (std::size_t i = 0; i < count; ++i) {
    Image picture;
    std::string fault = decode_image(bytes(i, storage), {}, picture);
    if (!fault.empty()) {
      batch.faults.emplace_back(i, std::move(fault));
      continue;
    }
    evaluation_view(picture, preprocess, next);
    next += 3 * side * side;
    batch.rows.push_back(i);
  }
  batch.image_BCHW = room.narrow(0, 0, static_cast<std::int64_t>(batch.rows.size()));
  return batch;
}

ImageBatch evaluation_batch(const ShardReader& shard, const std::vector<std::int64_t>& samples,
                            const jobs::ImagePreprocess& preprocess) {
  const auto bytes = [&](std::size_t i, std::string& storage) {
    return shard.image_bytes(samples[i], storage);
  };
  return evaluation_batch(samples.size(), bytes, preprocess);
}

}  // namespace trireme::worker::data
