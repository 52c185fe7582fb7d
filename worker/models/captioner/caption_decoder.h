// BLIP's caption decoder (METHODS 6.1): BERT's post-norm blocks, causal, each of which looks at the tokens of
// an image between its self-attention and its dense layers,
//   h = LN(x + out(self(x)));  c = LN(h + out(cross(h, image)));  y = LN(c + W2 gelu(W1 c))
//   logits = E LN(gelu(D y)) + b,  E the word embeddings, or a matrix of its own (spec.tied_head false)
// LayerNorm 1e-12, exact GELU, no dropout. Legend: N images, R rows (captions under way, R/N per image), L
// tokens, S image tokens, T width, U width of the image's tokens, H heads, D = T/H, V vocabulary. const and
// thread-safe.
//
// cross() of head h, with query q and image tokens x_s, has two forms that are equal in exact arithmetic:
//   projected   k_s = Wk x_s + bk, v_s = Wv x_s + bv;  sum_s p_s v_s,  p = softmax_s(q·k_s / sqrt(D))
//   absorbed    Wv (sum_s p_s x_s) + bv,  p = softmax_s((Wk^T q)·x_s / sqrt(D))
// because the p_s sum to one, and q·bk is the same for all s and leaves the softmax. (DeepSeek-V2,
// arXiv:2405.04434, section 2.1, absorbs its up-projections so.) Absorbed, there is no product with Wk and Wv
// per image token and layer, and all layers read one [S, U] per image instead of keys and values of their
// own; but a head's query has U numbers instead of D. Per image token and layer projected costs 4 T U to make
// and 4 T per row and token, absorbed 4 H U per row and token.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/model_spec.h"
#include "worker/nn/layers.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

enum class CrossForm { kProjected, kAbsorbed };

// What captions under way look at: the image's tokens, or their keys and values layer by layer, serve all of
// its rows; keys and values of the words grow by a step. Owned by one thread.
struct DecoderCache {
  at::Tensor image;                                // [N, S, U], absorbed; undefined when projected
  std::vector<at::Tensor> image_key, image_value;  // [N, H, S, D], projected; empty when absorbed
  std::vector<at::Tensor> key, value;              // [R, H, most, D], of which `length` hold something
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

  // All positions at once, for teacher forcing: tokens_NL int64, image_NSU the image's tokens -> [N, L, V].
  // What stands behind a token cannot reach it, so padding needs no mask. kInvalid beyond positions().
  at::Tensor forward(const at::Tensor& tokens_NL, const at::Tensor& image_NSU) const;

  // The form that costs less for `rows` captions per image of `most` tokens: absorbed when
  // rows * most * (H U / T - 1) < 1.5 U; 1 by the count above, 1.5 as measured. Projected under autocast and
  // in other than float32: there rounding would fall on other numbers than in training.
  CrossForm cheaper(const at::Tensor& image_NSU, std::int64_t rows, std::int64_t most) const;

  // A cache for captions of `most` tokens, and the next tokens of every row ([R, 1], or the common start
  // [R, L] of an empty cache) -> logits behind the last one, [R, V].
  DecoderCache start(const at::Tensor& image_NSU, std::int64_t most, CrossForm form) const;
  at::Tensor step(const at::Tensor& tokens_RL, DecoderCache& cache) const;

 private:
  struct Layer {
    nn::Linear qkv, self_out, cross_query, cross_key_value, cross_out, mlp_in, mlp_out;
    nn::LayerNorm self_norm, cross_norm, mlp_norm;
  };
  Layer make_layer(nn::ParameterSet& set, const std::string& prefix, std::int64_t image_width) const;
  at::Tensor embed(const at::Tensor& tokens_RL, std::int64_t first) const;
  at::Tensor by_head(const at::Tensor& x_NLT, std::int64_t parts) const;  // [parts, N, H, L, T/H]
  at::Tensor cross(const Layer& layer, const at::Tensor& h_RLT, const at::Tensor& key_NHSD,
                   const at::Tensor& value_NHSD) const;
  at::Tensor absorbed_cross(const Layer& layer, const at::Tensor& h_RLT, const at::Tensor& image_NSU) const;
  at::Tensor after_self(const Layer& layer, const at::Tensor& x_RLT, const at::Tensor& mixed_RHLD) const;
  at::Tensor finish(const Layer& layer, const at::Tensor& h_RLT, const at::Tensor& crossed_RLT) const;
  at::Tensor head(const at::Tensor& x) const;

  std::int64_t width_, heads_;
  at::Tensor words_, positions_, head_weight_, head_bias_;
  nn::LayerNorm norm_, head_norm_;
  nn::Linear head_dense_;
  std::vector<Layer> layers_;
};

}  // namespace trireme::worker::models
