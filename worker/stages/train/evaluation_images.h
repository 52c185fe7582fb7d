// The kept samples of a data set that is evaluated while training, and their pictures as the evaluate stage
// sees them: resized and cut at the centre, no crop drawn.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/models/dual_encoder.h"
#include "worker/stages/train/data_set.h"

namespace trireme::worker::stages::train {

struct EvaluatedSample {
  std::size_t shard = 0;
  std::int64_t sample = 0;
};

std::vector<EvaluatedSample> evaluated_samples(const DataSet& set);  // in manifest order

// float32 [samples, 3, side, side] on the CPU; good[i] is false, and the row zero, where the picture cannot
// be decoded. `good` has one entry per sample.
at::Tensor evaluation_images(const DataSet& set, const std::vector<EvaluatedSample>& samples,
                             const models::DualEncoder& encoder, std::vector<bool>& good);

}  // namespace trireme::worker::stages::train
