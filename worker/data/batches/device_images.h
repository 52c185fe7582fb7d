// The pictures of a training batch on the device that trains.
#pragma once

#include <ATen/core/Tensor.h>

#include "worker/data/batches/loader.h"

namespace trireme::worker::data {

// [b, 3, px, px] float32 of the slot: image_BCHW as it is, or, out of bytes_BHWC and to the same bits,
// mirrored and normalised there, rows that are not live zero. The copy is on the current stream and does not
// wait where the batch lies in pinned memory: the batch must stay until that stream is past it.
at::Tensor images_on(const SlotBatch& batch, const Normalization& normalization, const at::Device& device);

}  // namespace trireme::worker::data
