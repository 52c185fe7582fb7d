#include "worker/stages/train/run/copy_stream.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace trireme::worker::stages::train {

CopyStream::CopyStream(const std::string& device) : device_(device) {
  if (!device_.is_cpu())
    stream_ = c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_);
}

void CopyStream::run(const std::function<void()>& body) const {
  if (!ahead()) return body();
  const c10::StreamGuard guard(*stream_);
  body();
}

std::shared_ptr<c10::Event> CopyStream::mark() const {
  if (!ahead()) return nullptr;
  auto event = std::make_shared<c10::Event>(device_.type());
  event->record(*stream_);
  return event;
}

void CopyStream::hand_over(const std::shared_ptr<c10::Event>& mark, std::vector<SlotInput>& inputs) const {
  if (!ahead()) return;
  const auto own = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  mark->block(own);
  const auto keep = [&](const at::Tensor& tensor) {
    if (tensor.defined() && !tensor.is_cpu()) tensor.record_stream(own);  // freed only behind our use of it
  };
  for (const auto& input : inputs) {
    for (const at::Tensor* tensor :
         {&input.image_BCHW, &input.image_features_BT, &input.tokens_BL, &input.text_features_BT,
          &input.caption_tokens_BL, &input.caption_features_BT, &input.label_B, &input.live_B})
      keep(*tensor);
    for (const auto& head : input.targets) {
      keep(head.index_Bk);
      keep(head.weight_Bk);
    }
  }
}

}  // namespace trireme::worker::stages::train
