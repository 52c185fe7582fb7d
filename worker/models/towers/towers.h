// What every tower is to the dual encoder: names and tensors in a ParameterSet, a width, a forward pass that
// is const and thread-safe. Specs have their defaults resolved (jobs/specification/model_defaults.h).
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "common/base/error.h"
#include "jobs/specification/model_spec.h"
#include "worker/nn/convolution.h"
#include "worker/nn/forward_context.h"
#include "worker/nn/layers.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

class Tower {
 public:
  virtual ~Tower() = default;
  virtual std::int64_t width() const = 0;
  // Images [B, 3, H, W] float32, or tokens [N, L] int64 -> [B or N, width()]. Throws kInvalid on other
  // shapes.
  virtual at::Tensor forward(const at::Tensor& input, const nn::ForwardContext& context) const = 0;
  // What a caption decoder looks at, [B, S, width()]: every position of an image tower's last map, behind its
  // last norm, row by row; vit: the class token first. Text towers have none.
  virtual at::Tensor tokens(const at::Tensor& /*image_BCHW*/, const nn::ForwardContext& /*context*/) const {
    throw Error(ErrorKind::kInternal, "a text tower has no image tokens");
  }
  // Channels of the batch norms whose stored statistics move in training; 0: none do. Then buffers
  // "….running_mean" and "….running_var" stand in the set in the order of nn::BatchStatistics.
  virtual std::int64_t norm_channels() const { return 0; }
};

// What a spec's `activation` and `quick_gelu` mean together.
nn::Activation activation_of(jobs::ActivationKind named, bool quick_gelu);
// Of a resolved spec.
nn::Padding padding_of(jobs::PaddingKind named);

// "vit": CLIP's vision transformer, class token after ln_post, or pooled otherwise (ImageTowerSpec::pooling);
// names "visual.…" but for visual.proj, as open_clip's. patch_dropout and stochastic_depth act in training.
// Throws kInvalid when heads or patches do not divide.
std::unique_ptr<Tower> make_vision_transformer(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set);

// "transformer": CLIP's text transformer, ln_final at the position that `readout` names. Causal and read
// before the padding it runs on the length it is given, since later positions cannot reach earlier ones; else
// sequences are padded to the context.
struct TextIds {
  std::int64_t vocabulary_size = 0, end = 0, pad = 0;  // the tokenizer's
};
std::unique_ptr<Tower> make_text_transformer(const jobs::TextTowerSpec& spec, const TextIds& ids,
                                             nn::ParameterSet& set);

// "efficientnet_b0" … "b7", "l2", "lite0" … "lite2" (METHODS 4.2, 4.3) at any resolution, mean over the last
// map. Names "visual._conv_stem.weight", "visual._blocks.{i}._depthwise_conv.weight" … as in
// EfficientNet-PyTorch and efficientnet_lite_pytorch.
std::unique_ptr<Tower> make_efficientnet(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set);

// "bert": post-norm encoder, exact GELU, LayerNorm 1e-12, no dropout; mean of the hidden states over tokens
// that are not padding, the first token's, or tanh of a dense layer on that. Names "text.embeddings.…",
// "text.encoder.layer.{i}.…", "text.pooler.dense.…" (Hugging Face's; the pooler only where it is used).
std::unique_ptr<Tower> make_bert(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size,
                                 std::int64_t pad_id, nn::ParameterSet& set);

}  // namespace trireme::worker::models
