#include "worker/nn/transformer.h"

#include <cmath>

#include <ATen/ATen.h>

namespace trireme::worker::nn {

Transformer::Transformer(ParameterSet& set, const std::string& prefix, const TransformerShape& shape,
                         bool clip_text_init)
    : shape_(shape) {
  for (std::int64_t i = 0; i < shape.layers; ++i)
    blocks_.push_back(make_block(set, prefix + ".resblocks." + std::to_string(i), clip_text_init));
}

Transformer::Block Transformer::make_block(ParameterSet& set, const std::string& prefix,
                                           bool clip_text_init) const {
  const std::int64_t width = shape_.width;
  const double wide = static_cast<double>(width);
  const double attention = clip_text_init ? 1 / std::sqrt(wide) : 0;
  const double output = 1 / std::sqrt(wide * 2 * static_cast<double>(shape_.layers));
  const double by_width = 1 / std::sqrt(wide), by_inner = 1 / std::sqrt(4 * wide);
  const auto weight = [&](const std::string& name, std::int64_t out, std::int64_t in, double deviation,
                          double bound) {
    return clip_text_init ? set.normal(name, {out, in}, deviation) : set.uniform(name, {out, in}, bound);
  };
  Block block;
  block.ln_1 = make_layer_norm(set, prefix + ".ln_1", width);
  block.in_proj.weight =
      weight(prefix + ".attn.in_proj_weight", 3 * width, width, attention, std::sqrt(6 / (4 * wide)));
  block.in_proj.bias = set.constant(prefix + ".attn.in_proj_bias", {3 * width}, 0);
  block.out_proj.weight = weight(prefix + ".attn.out_proj.weight", width, width, output, by_width);
  block.out_proj.bias = set.constant(prefix + ".attn.out_proj.bias", {width}, 0);
  block.ln_2 = make_layer_norm(set, prefix + ".ln_2", width);
  block.c_fc.weight =
      weight(prefix + ".mlp.c_fc.weight", 4 * width, width, 1 / std::sqrt(2 * wide), by_width);
  block.c_fc.bias = set.uniform(prefix + ".mlp.c_fc.bias", {4 * width}, by_width);
  block.c_proj.weight = weight(prefix + ".mlp.c_proj.weight", width, 4 * width, output, by_inner);
  block.c_proj.bias = set.uniform(prefix + ".mlp.c_proj.bias", {width}, by_inner);
  return block;
}

at::Tensor Transformer::forward(at::Tensor x_NLT) const {
  for (const Block& block : blocks_) {
    const at::Tensor qkv_NL3T = block.in_proj.forward(block.ln_1.forward(x_NLT));
    x_NLT = x_NLT + block.out_proj.forward(self_attention(qkv_NL3T, shape_.heads, shape_.causal));
    x_NLT =
        x_NLT + block.c_proj.forward(gelu(block.c_fc.forward(block.ln_2.forward(x_NLT)), shape_.quick_gelu));
  }
  return x_NLT;
}

}  // namespace trireme::worker::nn
