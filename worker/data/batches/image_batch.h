// Pictures of a shard as an image tower in evaluation sees them. Legend: B images, C 3 channels.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/image_preprocess.h"
#include "worker/data/images/image.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::data {

// How the shard's source wants its pictures decoded.
PictureOptions picture_options(const ShardReader& shard);

// One picture, resized, cropped and normalised, into image_px^2 floats per channel.
void evaluation_view(const Image& image, const jobs::ImagePreprocess& preprocess, float* out_CHW);

// The same before it is normalised: image_px x image_px interleaved bytes.
void evaluation_pixels(const Image& image, const jobs::ImagePreprocess& preprocess, std::uint8_t* out_HWC);

struct ImageBatch {
  at::Tensor image_BCHW;          // float32 on the CPU: of the pictures that could be decoded
  std::vector<std::size_t> rows;  // which of those asked for they are, ascending
  std::vector<std::pair<std::size_t, std::string>> faults;  // the others, why (decode_image)
};

// A picture as it is stored (ShardReader::image_bytes()), and how its source wants it decoded.
struct EncodedPicture {
  std::string_view bytes;
  PictureOptions options = {};
};
EncodedPicture encoded_picture(const ShardReader& shard, std::int64_t sample, std::string& storage);

// Picture i, its bytes maybe in `storage`.
using PictureBytes = std::function<EncodedPicture(std::size_t i, std::string& storage)>;

// Of `count` pictures. Thread-safe where `bytes` is.
ImageBatch evaluation_batch(std::size_t count, const PictureBytes& bytes,
                            const jobs::ImagePreprocess& preprocess);

// Of one shard's samples, in the order asked for.
ImageBatch evaluation_batch(const ShardReader& shard, const std::vector<std::int64_t>& samples,
                            const jobs::ImagePreprocess& preprocess);

}  // namespace trireme::worker::data
