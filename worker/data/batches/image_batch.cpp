#include "worker/data/batches/image_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "worker/data/batches/picture_filter.h"
#include "worker/data/images/resize.h"

namespace trireme::worker::data {
namespace {

// The whole picture in the middle of a square, as open_clip's ResizeKeepRatio and CenterCropOrPad: sides
// rounded half to even, an odd rest one pixel more at the right and below.
Image in_square(const Image& image, const jobs::ImagePreprocess& preprocess) {
  const std::int64_t side = preprocess.image_px, longer = std::max(image.width, image.height);
  const auto scaled = [&](std::int64_t px) {
    const double ratio = static_cast<double>(longer) / static_cast<double>(side);
    return std::max<std::int64_t>(1,
                                  static_cast<std::int64_t>(std::nearbyint(static_cast<double>(px) / ratio)));
  };
  const std::int64_t width = scaled(image.width), height = scaled(image.height);
  const Image small = resize_image(image, width, height, filter_of(preprocess));
  Image out{side, side,
            std::vector<std::uint8_t>(static_cast<std::size_t>(side * side * 3), preprocess.fill)};
  const std::int64_t x = (side - width) / 2, y = (side - height) / 2;
  for (std::int64_t row = 0; row < height; ++row)
    std::memcpy(out.rgb.data() + ((y + row) * side + x) * 3, small.rgb.data() + row * width * 3,
                static_cast<std::size_t>(width * 3));
  return out;
}

}  // namespace

PictureOptions picture_options(const ShardReader& shard) {
  return {.exif_orientation = shard.exif_orientation(), .icc_to_srgb = shard.icc_to_srgb()};
}

EncodedPicture encoded_picture(const ShardReader& shard, std::int64_t sample, std::string& storage) {
  return {shard.image_bytes(sample, storage), picture_options(shard)};
}

void evaluation_view(const Image& image, const jobs::ImagePreprocess& preprocess, float* out_CHW) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(preprocess.image_px * preprocess.image_px * 3));
  evaluation_pixels(image, preprocess, pixels.data());
  normalize(pixels.data(), preprocess.image_px, {preprocess.mean, preprocess.std}, out_CHW);
}

void evaluation_pixels(const Image& image, const jobs::ImagePreprocess& preprocess, std::uint8_t* out_HWC) {
  if (preprocess.longest) {
    const Image square = in_square(image, preprocess);
    std::copy(square.rgb.begin(), square.rgb.end(), out_HWC);
    return;
  }
  resized_crop(image, preprocess.resize_px, preprocess.image_px, out_HWC, filter_of(preprocess),
               preprocess.square, preprocess.crop_down);
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
    const EncodedPicture encoded = bytes(i, storage);
    std::string fault = decode_image(encoded.bytes, {.options = encoded.options}, picture);
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
    return encoded_picture(shard, samples[i], storage);
  };
  return evaluation_batch(samples.size(), bytes, preprocess);
}

}  // namespace trireme::worker::data
