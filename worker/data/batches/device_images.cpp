#include "worker/data/batches/device_images.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace trireme::worker::data {
namespace {

// Behind what travels there already, and nobody waits for it.
at::Tensor sent_to(const at::Tensor& on_host, const at::Device& device) {
  return device.is_cpu() ? on_host : on_host.pin_memory().to(device, /*non_blocking=*/true);
}

at::Tensor per_channel(const Normalization& normalization, double (*of)(double mean, double std),
                       const at::Device& device) {
  at::Tensor values = at::empty({1, 3, 1, 1}, at::kFloat);
  for (std::size_t c = 0; c < 3; ++c)
    values.data_ptr<float>()[c] = static_cast<float>(
        of(static_cast<double>(normalization.mean[c]), static_cast<double>(normalization.std[c])));
  return sent_to(values, device);
}

at::Tensor rows_where(const std::vector<std::uint8_t>& flags, const at::Device& device) {
  return sent_to(at::tensor(at::ArrayRef<std::uint8_t>(flags), at::kByte).ne(0).view({-1, 1, 1, 1}), device);
}

}  // namespace

at::Tensor images_on(const SlotBatch& batch, const Normalization& normalization, const at::Device& device) {
  if (!batch.bytes_BHWC.defined()) return batch.image_BCHW.to(device, /*non_blocking=*/true);
  at::Tensor images = batch.bytes_BHWC.to(device, /*non_blocking=*/true)
                          .permute({0, 3, 1, 2})
                          .to(at::kFloat, false, false, at::MemoryFormat::Contiguous);
  // As resize_to() does: byte * scale + shift, each rounded.
  images
      .mul_(per_channel(
          normalization, [](double, double std) { return 1.0 / (255.0 * std); }, device))
      .add_(per_channel(
          normalization, [](double mean, double std) { return -mean / std; }, device));
  if (std::any_of(batch.mirrored.begin(), batch.mirrored.end(), [](auto flag) { return flag != 0; }))
    images = at::where(rows_where(batch.mirrored, device), images.flip({3}), images);
  if (std::any_of(batch.live.begin(), batch.live.end(), [](auto flag) { return flag == 0; }))
    images = images.masked_fill(rows_where(batch.live, device).logical_not(), 0);
  return images;
}

}  // namespace trireme::worker::data
