// How much of the device's arithmetic the model's own FLOPs take (MFU): model FLOPs of a trained pair
// (worker/models/model_cost.h, texts at full context as open_clip counts them) times pairs per second, over
// the matrix-product rate measured here once.
#pragma once

#include <cstdint>
#include <string>

#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::train {

// FLOPs of one pair through forward and backward; towers whose outputs are stored cost nothing.
double pair_flops(const models::DualEncoder& encoder, bool stored_images, bool stored_texts);

// FLOP/s of square matrix products (1024 on a CPU, 4096 on a GPU) in the given precision with the calling
// thread's intra-op threads: the best of three after a warm-up; about a tenth of a second.
double matmul_rate(const std::string& device, bool bf16);

}  // namespace trireme::worker::stages::train
