#include "worker/stages/train/step/learner.h"

#include <ATen/ATen.h>

namespace trireme::worker::stages::train {

SlotInput rows_of(const SlotInput& input, std::int64_t first, std::int64_t count) {
  SlotInput rows = input;
  const auto cut = [&](at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.narrow(0, first, count);
  };
  for (at::Tensor* tensor :
       {&rows.image_BCHW, &rows.image_features_BT, &rows.tokens_BL, &rows.text_features_BT, &rows.live_B,
        &rows.caption_tokens_BL, &rows.caption_features_BT, &rows.label_B})
    cut(*tensor);
  for (auto& head : rows.targets) {
    cut(head.index_Bk);
    cut(head.weight_Bk);
  }
  rows.first_row += first;
  return rows;
}

at::Tensor on_wire(const at::Tensor& tensor, const collective::Group& group) {
  const auto plain = tensor.detach();
  return group.takes_device_tensors() ? plain.contiguous() : plain.cpu().contiguous();
}

}  // namespace trireme::worker::stages::train
