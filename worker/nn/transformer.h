// CLIP's pre-norm transformer (METHODS 4.1), for images and texts:
//   h = x + ls_1 out_proj(attention(in_proj(ln_1 x)));  y = h + ls_2 c_proj(act(c_fc(ln_2 h)))
// Parameter names "<prefix>.resblocks.{i}.…" as in open_clip; in_proj rows ordered q, k, v.
#pragma once

#include <string>
#include <vector>

#include "worker/nn/forward_context.h"
#include "worker/nn/layers.h"

namespace trireme::worker::nn {

struct TransformerShape {
  std::int64_t width = 0, layers = 0, heads = 0;
  std::int64_t mlp_width = 0;  // 0: 4 width
  Activation activation = Activation::kGelu;
  bool causal = false;
  bool post_norm = false;       // h = x + ln_1 out_proj(attention(in_proj x)), y = h + ln_2 mlp(h)
  bool gated_mlp = false;       // act(first half of c_fc's rows) * the other half, act SiLU
  bool attention_norm = false;  // "….attn.ln_inner" before out_proj
  bool mlp_norm = false;        // "….mlp.ln" before c_proj
  bool layer_scale = false;     // "….ls_1.gamma" and "….ls_2.gamma" multiply the branches
  double layer_norm_epsilon = 1e-5;
  double stochastic_depth = 0;  // of the last block's branches; linear from 0 at the first
  bool gradient_checkpointing = false;
};

// Which rows a tower computes and which it reads out. Tokens behind the last one that is read cannot reach it
// in a causal transformer and are left out of every product.
struct Positions {
  std::int64_t sequences = 0, length = 0;
  at::Tensor kept_M;   // int64, ascending places in [N L] of the rows of x_MT; undefined: all N L
  at::Tensor read_N;   // int64, rows of x_MT to read
  at::Tensor place_N;  // int64, the same rows as places in [N L]
  at::Tensor mask;     // added to the attention's logits, broadcasts to [N, H, L, L]; instead of `causal`
  Rotary rotary = {};
};

class Transformer {
 public:
  // `clip_text_init`: attention normal width^-0.5, outputs normal (2 layers width)^-0.5, c_fc normal
  // (2 width)^-0.5; otherwise PyTorch's defaults (xavier uniform in_proj), which is what open_clip keeps for
  // its vision transformer.
  Transformer(ParameterSet& set, const std::string& prefix, const TransformerShape& shape,
              bool clip_text_init);

  // [N, L, T] -> [N, L, T]
  at::Tensor forward(at::Tensor x_NLT, const ForwardContext& context = {}, const Rotary& rotary = {}) const;

  // Rows read_N of forward() -> [N, T]: after the last attention only they are computed.
  at::Tensor read(at::Tensor x_MT, const Positions& positions, const ForwardContext& context = {}) const;

 private:
  struct Block {
    LayerNorm ln_1, ln_2, ln_inner, ln_mlp;  // the latter two undefined without them
    Linear in_proj, out_proj, c_fc, c_proj;
    at::Tensor ls_1, ls_2;  // undefined without layer scale
    std::vector<at::Tensor> parameters() const;
  };
  Block make_block(ParameterSet& set, const std::string& prefix, bool clip_text_init) const;
  at::Tensor attend(const Block& block, const at::Tensor& x_MT, const Positions& positions) const;
  at::Tensor finish(std::size_t block, const at::Tensor& x, const at::Tensor& mixed, std::int64_t sequences,
                    const ForwardContext& context) const;
  at::Tensor drop(const at::Tensor& branch, std::size_t block, const char* which, std::int64_t sequences,
                  const ForwardContext& context) const;
  at::Tensor run_block(std::size_t block, const at::Tensor& x_MT, const Positions& positions, bool last,
                       const ForwardContext& context) const;
  at::Tensor step(std::size_t block, const at::Tensor& x_MT, const Positions& positions, bool last,
                  const ForwardContext& context) const;

  TransformerShape shape_;
  std::string prefix_;
  std::vector<Block> blocks_;
};

}  // namespace trireme::worker::nn
