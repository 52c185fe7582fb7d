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

// [M, T] -> what attention mixed at every place, [N L, T]. Places that are not kept hold zeros; nobody reads
// what they attend to.
at::Tensor Transformer::attend(const Block& block, const at::Tensor& x_MT, const Positions& positions) const {
  const std::int64_t places = positions.sequences * positions.length;
  at::Tensor qkv = block.in_proj.forward(block.ln_1.forward(x_MT));
  if (positions.kept_M.defined())
    qkv = at::zeros({places, qkv.size(1)}, qkv.options()).index_copy_(0, positions.kept_M, qkv);
  const at::Tensor qkv_NL3T = qkv.view({positions.sequences, positions.length, qkv.size(1)});
  return self_attention(qkv_NL3T, shape_.heads, shape_.causal).view({places, shape_.width});
}

at::Tensor Transformer::finish(const Block& block, const at::Tensor& x, const at::Tensor& mixed) const {
  const at::Tensor h = x + block.out_proj.forward(mixed);
  return h + block.c_proj.forward(gelu(block.c_fc.forward(block.ln_2.forward(h)), shape_.quick_gelu));
}

at::Tensor Transformer::forward(at::Tensor x_NLT) const {
  const Positions all{x_NLT.size(0), x_NLT.size(1), {}, {}, {}};
  at::Tensor x_MT = x_NLT.reshape({-1, shape_.width});
  for (const Block& block : blocks_) x_MT = finish(block, x_MT, attend(block, x_MT, all));
  return x_MT.view(x_NLT.sizes());
}

at::Tensor Transformer::read(at::Tensor x_MT, const Positions& positions) const {
  if (blocks_.empty()) return x_MT.index_select(0, positions.read_N);
  for (std::size_t i = 0; i + 1 < blocks_.size(); ++i) {
    const at::Tensor mixed = attend(blocks_[i], x_MT, positions);
    x_MT = finish(blocks_[i], x_MT,
                  positions.kept_M.defined() ? mixed.index_select(0, positions.kept_M) : mixed);
  }
  const at::Tensor mixed = attend(blocks_.back(), x_MT, positions);
  return finish(blocks_.back(), x_MT.index_select(0, positions.read_N),
                mixed.index_select(0, positions.place_N));
}

}  // namespace trireme::worker::nn
