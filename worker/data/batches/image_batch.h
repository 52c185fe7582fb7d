// Pictures of a shard as an image tower in evaluation sees them. Legend: B images, C 3 channels.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/image_preprocess.h"
#include "worker/data/images/image.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::data {

// One picture, resized, cropped and normalised, into image_px^2 floats per channel.
void evaluation_view(const Image& image, const jobs::ImagePreprocess& preprocess, float* out_CHW);

struct ImageBatch {
  at::Tensor image_BCHW;              // float32 on the CPU: of the pictures that could be decoded
  std::vector<std::int64_t> samples;  // their positions in the shard, in the order asked for
  std::vector<std::pair<std::int64_t, std::string>> faults;  // of the others, why (decode_image)
};

// Thread-safe.
ImageBatch evaluation_batch(const ShardReader& shard, const std::vector<std::int64_t>& samples,
                            const jobs::ImagePreprocess& preprocess);

}  // namespace trireme::worker::data
