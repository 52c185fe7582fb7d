// Any number of texts through the text tower, a fixed number at a time: prompts of classes, search queries,
// captions of a range. Without gradients, on the calling thread. Legend: N texts, C classes, D shared width.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/models/dual_encoder.h"

namespace trireme::worker::embedding {

inline constexpr std::int64_t kTextsAtOnce = 64;

struct EncodedTexts {
  at::Tensor rows;  // float32 on the CPU: [N, D] projected, or [N, T'] before the projection
  std::int64_t truncated = 0;
};

EncodedTexts encode_texts(models::DualEncoder& model, const std::string& device,
                          const std::vector<std::string>& texts, bool project,
                          std::int64_t at_once = kTextsAtOnce);

// [C, D], unit rows: each class filled into every template ("{c}"), the mean of its prompts (METHODS 7.1).
at::Tensor class_vectors(models::DualEncoder& model, const std::string& device,
                         const std::vector<std::string>& classes, const std::vector<std::string>& templates,
                         std::int64_t at_once = kTextsAtOnce);

// Of zero-shot classification: those beside the shard, else "a photo of a {c}.".
std::vector<std::string> prompt_templates(const std::string& shard);

}  // namespace trireme::worker::embedding
