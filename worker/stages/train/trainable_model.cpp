#include "worker/stages/train/trainable_model.h"

#include <ATen/ATen.h>

namespace trireme::worker::stages::train {

SlotInput rows_of(const SlotInput& input, std::int64_t first, std::int64_t count) {
  const auto part = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.narrow(0, first, count) : tensor;
  };
  SlotInput rows{part(input.image_BCHW), part(input.image_features_BT),
                 part(input.tokens_BL),  part(input.text_features_BT),
                 part(input.live_B),     part(input.caption_tokens_BL),
                 part(input.label_B),    {}};
  for (const auto& head : input.concepts)
    rows.concepts.push_back({part(head.index_Bk), part(head.weight_Bk)});
  return rows;
}

}  // namespace trireme::worker::stages::train
