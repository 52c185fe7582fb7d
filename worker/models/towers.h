// What every tower is to the dual encoder: names and tensors in a ParameterSet, a width, a forward pass that
// is const and thread-safe.
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "jobs/spec/model_spec.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

class Tower {
 public:
  virtual ~Tower() = default;
  virtual std::int64_t width() const = 0;
  // Images [B, 3, H, W] float32, or tokens [N, L] int64 -> [B or N, width()]. Throws kInvalid on other
  // shapes.
  virtual at::Tensor forward(const at::Tensor& input) const = 0;
};

// "vit": CLIP's vision transformer, class token after ln_post; names "visual.…" but for visual.proj.
// Throws kInvalid when heads or patches do not divide.
std::unique_ptr<Tower> make_vision_transformer(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set);

// "transformer": CLIP's causal text transformer; ln_final at the first end token. Runs on the length it is
// given: later positions cannot reach earlier ones.
std::unique_ptr<Tower> make_text_transformer(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size,
                                             std::int64_t end_id, nn::ParameterSet& set);

// "efficientnet_lite0": convolutions with TensorFlow's SAME padding, ReLU6, no squeeze-excite, mean over the
// map, 1280 wide. Batch norm always uses its stored statistics, in training too, so that forward has no
// state; scale and shift are trained. Names "visual._conv_stem.weight" … as in efficientnet_lite_pytorch.
std::unique_ptr<Tower> make_efficientnet_lite0(nn::ParameterSet& set);

// "bert": post-norm encoder, exact GELU, LayerNorm 1e-12, no dropout; mean of the hidden states over tokens
// that are not padding. Names "text.embeddings.…", "text.encoder.layer.{i}.…" (Hugging Face, without pooler).
std::unique_ptr<Tower> make_bert(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size,
                                 std::int64_t pad_id, nn::ParameterSet& set);
constexpr std::int64_t kBertPositions = 512;

}  // namespace trireme::worker::models
