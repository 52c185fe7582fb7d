#include "worker/nn/transformer.h"

#include <cmath>

#include <ATen/ATen.h>

#include "worker/nn/recompute.h"

namespace trireme::worker::nn {
namespace {

constexpr double kLayerScaleStart = 1e-5;

}  // namespace

Transformer::Transformer(ParameterSet& set, const std::string& prefix, const TransformerShape& shape,
                         bool clip_text_init)
    : shape_(shape), prefix_(prefix) {
  for (std::int64_t i = 0; i < shape.layers; ++i)
    blocks_.push_back(make_block(set, prefix + ".resblocks." + std::to_string(i), clip_text_init));
}

Transformer::Block Transformer::make_block(ParameterSet& set, const std::string& prefix,
                                           bool clip_text_init) const {
  const std::int64_t width = shape_.width, mlp = shape_.mlp_width > 0 ? shape_.mlp_width : 4 * width;
  const double wide = static_cast<double>(width);
  const double attention = clip_text_init ? 1 / std::sqrt(wide) : 0;
  const double output = 1 / std::sqrt(wide * 2 * static_cast<double>(shape_.layers));
  const double by_width = 1 / std::sqrt(wide), by_inner = 1 / std::sqrt(static_cast<double>(mlp));
  const auto weight = [&](const std::string& name, std::int64_t out, std::int64_t in, double deviation,
                          double bound) {
    return clip_text_init ? set.normal(name, {out, in}, deviation) : set.uniform(name, {out, in}, bound);
  };
  Block block;
  block.ln_1 = make_layer_norm(set, prefix + ".ln_1", width, shape_.layer_norm_epsilon);
  block.in_proj.weight =
      weight(prefix + ".attn.in_proj_weight", 3 * width, width, attention, std::sqrt(6 / (4 * wide)));
  block.in_proj.bias = set.constant(prefix + ".attn.in_proj_bias", {3 * width}, 0);
  block.out_proj.weight = weight(prefix + ".attn.out_proj.weight", width, width, output, by_width);
  block.out_proj.bias = set.constant(prefix + ".attn.out_proj.bias", {width}, 0);
  block.ln_2 = make_layer_norm(set, prefix + ".ln_2", width, shape_.layer_norm_epsilon);
  const std::int64_t rows = shape_.gated_mlp ? 2 * mlp : mlp;
  if (shape_.attention_norm)
    block.ln_inner = make_layer_norm(set, prefix + ".attn.ln_inner", width, shape_.layer_norm_epsilon);
  if (shape_.mlp_norm)
    block.ln_mlp = make_layer_norm(set, prefix + ".mlp.ln", mlp, shape_.layer_norm_epsilon);
  block.c_fc.weight = weight(prefix + ".mlp.c_fc.weight", rows, width, 1 / std::sqrt(2 * wide), by_width);
  block.c_fc.bias = set.uniform(prefix + ".mlp.c_fc.bias", {rows}, by_width);
  block.c_proj.weight = weight(prefix + ".mlp.c_proj.weight", width, mlp, output, by_inner);
  block.c_proj.bias = set.uniform(prefix + ".mlp.c_proj.bias", {width}, by_inner);
  if (shape_.layer_scale) {
    block.ls_1 = set.constant(prefix + ".ls_1.gamma", {width}, kLayerScaleStart);
    block.ls_2 = set.constant(prefix + ".ls_2.gamma", {width}, kLayerScaleStart);
  }
  return block;
}

std::vector<at::Tensor> Transformer::Block::parameters() const {
  std::vector<at::Tensor> all{ln_1.weight,     ln_1.bias,     in_proj.weight, in_proj.bias,
                              out_proj.weight, out_proj.bias, ln_2.weight,    ln_2.bias,
                              c_fc.weight,     c_fc.bias,     c_proj.weight,  c_proj.bias};
  for (const LayerNorm* one : {&ln_inner, &ln_mlp})
    if (one->weight.defined()) all.insert(all.end(), {one->weight, one->bias});
  if (ls_1.defined()) all.insert(all.end(), {ls_1, ls_2});
  return all;
}

// [M, T] -> what attention mixed at every place, [N L, T]. Places that are not kept hold zeros; nobody reads
// what they attend to.
at::Tensor Transformer::attend(const Block& block, const at::Tensor& x_MT, const Positions& positions) const {
  const std::int64_t places = positions.sequences * positions.length;
  at::Tensor qkv = block.in_proj.forward(shape_.post_norm ? x_MT : block.ln_1.forward(x_MT));
  if (positions.kept_M.defined())
    qkv = at::zeros({places, qkv.size(1)}, qkv.options()).index_copy_(0, positions.kept_M, qkv);
  const at::Tensor qkv_NL3T = qkv.view({positions.sequences, positions.length, qkv.size(1)});
  const bool masked = positions.mask.defined();
  return self_attention(qkv_NL3T, shape_.heads, shape_.causal && !masked, positions.mask, positions.rotary)
      .view({places, shape_.width});
}

at::Tensor Transformer::drop(const at::Tensor& branch, std::size_t block, const char* which,
                             std::int64_t sequences, const ForwardContext& context) const {
  if (!context.training || shape_.stochastic_depth <= 0 || blocks_.size() < 2) return branch;
  const double rate =
      shape_.stochastic_depth * static_cast<double>(block) / static_cast<double>(blocks_.size() - 1);
  const at::Tensor by_sequence = branch.view({sequences, -1, branch.size(-1)});
  return stochastic_depth(by_sequence, rate, context, prefix_ + "." + std::to_string(block) + which)
      .view(branch.sizes());
}

at::Tensor Transformer::finish(std::size_t block, const at::Tensor& x, const at::Tensor& mixed,
                               std::int64_t sequences, const ForwardContext& context) const {
  const Block& b = blocks_[block];
  const auto norm = [](const LayerNorm& one, const at::Tensor& value) {
    return one.weight.defined() ? one.forward(value) : value;
  };
  const auto branch = [&](at::Tensor value, const LayerNorm& after, const at::Tensor& gamma) {
    if (shape_.post_norm) value = after.forward(value);
    return gamma.defined() ? value * gamma : value;
  };
  const at::Tensor h = x + drop(branch(b.out_proj.forward(norm(b.ln_inner, mixed)), b.ln_1, b.ls_1), block,
                                ".attn", sequences, context);
  at::Tensor inner = b.c_fc.forward(shape_.post_norm ? h : b.ln_2.forward(h));
  if (shape_.gated_mlp) {
    const auto halves = inner.chunk(2, -1);
    inner = at::silu(halves[0]) * halves[1];
  } else {
    inner = activate(inner, shape_.activation);
  }
  return h + drop(branch(b.c_proj.forward(norm(b.ln_mlp, inner)), b.ln_2, b.ls_2), block, ".mlp", sequences,
                  context);
}

at::Tensor Transformer::run_block(std::size_t block, const at::Tensor& x_MT, const Positions& positions,
                                  bool last, const ForwardContext& context) const {
  const at::Tensor mixed = attend(blocks_[block], x_MT, positions);
  if (last)
    return finish(block, x_MT.index_select(0, positions.read_N), mixed.index_select(0, positions.place_N),
                  positions.sequences, context);
  return finish(block, x_MT, positions.kept_M.defined() ? mixed.index_select(0, positions.kept_M) : mixed,
                positions.sequences, context);
}

at::Tensor Transformer::step(std::size_t block, const at::Tensor& x_MT, const Positions& positions, bool last,
                             const ForwardContext& context) const {
  if (!shape_.gradient_checkpointing) return run_block(block, x_MT, positions, last, context);
  return recompute([this, block, positions, last, context](
                       const at::Tensor& x, bool) { return run_block(block, x, positions, last, context); },
                   x_MT, blocks_[block].parameters());
}

at::Tensor Transformer::forward(at::Tensor x_NLT, const ForwardContext& context, const Rotary& rotary) const {
  const Positions all{x_NLT.size(0), x_NLT.size(1), {}, {}, {}, {}, rotary};
  at::Tensor x_MT = x_NLT.reshape({-1, shape_.width});
  for (std::size_t i = 0; i < blocks_.size(); ++i) x_MT = step(i, x_MT, all, false, context);
  return x_MT.view(x_NLT.sizes());
}

at::Tensor Transformer::read(at::Tensor x_MT, const Positions& positions,
                             const ForwardContext& context) const {
  if (blocks_.empty()) return x_MT.index_select(0, positions.read_N);
  for (std::size_t i = 0; i < blocks_.size(); ++i)
    x_MT = step(i, x_MT, positions, i + 1 == blocks_.size(), context);
  return x_MT;
}

}  // namespace trireme::worker::nn
