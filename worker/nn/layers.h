// Stateless layers over named tensors. forward() is const and thread-safe; all run under CPU or CUDA
// autocast. Legend: N sequences, L positions, T width, H heads.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "worker/nn/parameter_set.h"

namespace trireme::worker::nn {

// y = x W^T + b; `name`.weight [out, in], `name`.bias [out].
struct Linear {
  at::Tensor weight, bias;
  at::Tensor forward(const at::Tensor& x) const;
};
// PyTorch's default: weight and bias uniform in ±in^-0.5.
Linear make_linear(ParameterSet& set, const std::string& name, std::int64_t in, std::int64_t out);
// Weight normal with `standard_deviation`, bias zero.
Linear make_linear_normal(ParameterSet& set, const std::string& name, std::int64_t in, std::int64_t out,
                          double standard_deviation);

// Over the last dimension, scale 1 and shift 0 at the start; output in x's dtype.
struct LayerNorm {
  at::Tensor weight, bias;
  double epsilon = 1e-5;
  at::Tensor forward(const at::Tensor& x) const;
};
LayerNorm make_layer_norm(ParameterSet& set, const std::string& name, std::int64_t width,
                          double epsilon = 1e-5);

// Exact x Phi(x); x sigmoid(1.702 x); x Phi(x) by its tanh formula.
enum class Activation { kGelu, kQuickGelu, kTanhGelu };
at::Tensor activate(const at::Tensor& x, Activation activation);
inline at::Tensor gelu(const at::Tensor& x) {
  return activate(x, Activation::kGelu);
}

// Rotary positions: each pair of neighbouring numbers of a head's query and key is turned by an angle of its
// place. [L, T/H] each, every angle twice; rows that are not turned have sine 0 and cosine 1. Undefined:
// none.
struct Rotary {
  at::Tensor sine_LD, cosine_LD;
};
// Of a square of patches, row by row, behind `before` rows that are not turned: angles place * 10000^(-i /
// (D/4)) of the row's number and then the column's (timm's "ij"; `columns_first`: "xy"), place = (number +
// offset) * reference / side.
Rotary rotary_of_square(std::int64_t side, std::int64_t head_width, std::int64_t before, bool columns_first,
                        double offset, double reference, const at::Device& device);

// softmax(q k^T / sqrt(T/H)) v over heads; qkv_NL3T holds q, k, v side by side. `mask` (optional, additive or
// boolean with true = may look) broadcasts to [N, H, L, L]. Result [N, L, T].
at::Tensor self_attention(const at::Tensor& qkv_NL3T, std::int64_t heads, bool causal,
                          const at::Tensor& mask = {}, const Rotary& rotary = {});

}  // namespace trireme::worker::nn
