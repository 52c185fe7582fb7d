// EfficientNet's family as a table: what each kind's layers are (METHODS 4.3).
#pragma once

#include <cstdint>
#include <vector>

#include "jobs/specification/model_spec.h"

namespace trireme::worker::models {

struct EfficientNetBlock {
  std::int64_t kernel = 3, stride = 1, expand = 6, in = 0, out = 0;
  std::int64_t squeeze = 0;  // width of squeeze-and-excite, 0: none
  bool residual = false;     // blocks that are not the first of their stage
};

struct EfficientNetShape {
  std::int64_t stem = 32;
  std::int64_t head = 0;              // width of the 1x1 convolution before the pooling, 0: none
  bool relu6 = false;                 // otherwise swish
  std::vector<std::int64_t> repeats;  // blocks per stage
  std::vector<EfficientNetBlock> blocks;
  std::int64_t width() const { return head > 0 ? head : blocks.back().out; }
};

// Of the widths and the repeats: the kind's own, or what stands in `spec`. Throws kInvalid for a vit.
struct EfficientNetFactors {
  double width = 1, depth = 1;
};
EfficientNetFactors efficientnet_factors(const jobs::ImageTowerSpec& spec);

// Channels c of a stage become max(8, round to a multiple of 8), 8 more when that is below 0.9 c; repeats
// ceil. Lite kinds keep the stem (32), the head (1280) and the repeats of the first and last stage. `spec`
// with its defaults resolved; throws kInvalid for a vit.
EfficientNetShape efficientnet_shape(const jobs::ImageTowerSpec& spec);

}  // namespace trireme::worker::models
