// Any number of texts through the text tower, a fixed number at a time: prompts of classes, search queries,
// captions of a range. Without gradients, on the calling thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/models/dual_encoder.h"

namespace trireme::worker::models {

struct EncodedTexts {
  at::Tensor rows;  // float32 on the CPU: [N, D] projected, or [N, T'] before the projection
  std::int64_t truncated = 0;
};

EncodedTexts encode_texts(DualEncoder& model, const std::string& device,
                          const std::vector<std::string>& texts, bool project, std::int64_t at_once = 64);

}  // namespace trireme::worker::models
