// BLIP's caption decoder (METHODS 6.1): BERT's post-norm blocks, causal, each of which looks at the tokens of
// an image between its self-attention and its dense layers,
//   h = LN(x + out(self(x)));  c = LN(h + out(cross(h, image)));  y = LN(c + W2 gelu(W1 c))
//   logits = E LN(gelu(D y)) + b,  E the word embeddings, or a matrix of its own (spec.tied_head false)
// LayerNorm 1e-12, exact GELU, no dropout. Legend: N images, R rows (captions under way, R/N per image), L
// tokens, S image tokens, T width, H heads, V vocabulary. const and thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/spec/model_spec.h"
#include "worker/nn/layers.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

// Keys and values of captions under way, layer by layer: those of the image are made once and serve all of
// its rows, those of the words grow by a step. Owned by one thread.
struct DecoderCache {
  std::vector<at::Tensor> image_key, image_value;  // [N, H, S, T/H]
  std::vector<at::Tensor> key, value;              // [R, H, most, T/H], of which `length` hold something
  std::int64_t images = 0, length = 0, most = 0;
  at::Tensor spare;  // rows in their new order are written here: fresh memory costs a page fault every 4 KiB

  void keep_rows(const at::Tensor& rows_R);      // int64: row i becomes what row rows_R[i] was
  void keep_images(const at::Tensor& images_N);  // int64, likewise; the rows are the caller's to keep
};

class CaptionDecoder {
 public:
  // Parameters "decoder.…", weights normal 0.02, biases zero. Throws kInvalid when heads do not divide width.
  CaptionDecoder(const jobs::TextTowerSpec& spec, std::int64_t vocabulary, std::int64_t image_width,
                 nn::ParameterSet& set);

  std::int64_t vocabulary() const { return words_.size(0); }
  std::int64_t positions() const { return positions_.size(0); }

  // All positions at once, for teacher forcing: tokens_NL int64, image_NST the image's tokens -> [N, L, V].
  // What stands behind a token cannot reach it, so padding needs no mask. kInvalid beyond positions().
  at::Tensor forward(const at::Tensor& tokens_NL, const at::Tensor& image_NST) const;

  // A cache for captions of `most` tokens, and the next tokens of every row ([R, 1], or the common start
  // [R, L] of an empty cache) -> logits behind the last one, [R, V].
  DecoderCache start(const at::Tensor& image_NST, std::int64_t most) const;
  at::Tensor step(const at::Tensor& tokens_RL, DecoderCache& cache) const;

 private:
  struct Layer {
    nn::Linear qkv, self_out, cross_query, cross_key_value, cross_out, mlp_in, mlp_out;
    nn::LayerNorm self_norm, cross_norm, mlp_norm;
  };
  Layer make_layer(nn::ParameterSet& set, const std::string& prefix, std::int64_t image_width) const;
  at::Tensor embed(const at::Tensor& tokens_RL, std::int64_t first) const;
  at::Tensor by_head(const at::Tensor& x_NLT, std::int64_t parts) const;  // [parts, N, H, L, T/H]
  at::Tensor cross(const Layer& layer, const at::Tensor& x_RLT, const at::Tensor& key_NHSD,
                   const at::Tensor& value_NHSD) const;
  at::Tensor finish(const Layer& layer, const at::Tensor& x_RLT, const at::Tensor& mixed_RHLD,
                    const at::Tensor& key_NHSD, const at::Tensor& value_NHSD) const;
  at::Tensor head(const at::Tensor& x) const;

  std::int64_t width_, heads_;
  at::Tensor words_, positions_, head_weight_, head_bias_;
  nn::LayerNorm norm_, head_norm_;
  nn::Linear head_dense_;
  std::vector<Layer> layers_;
};

}  // namespace trireme::worker::models
