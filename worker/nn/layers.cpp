#include "worker/nn/layers.h"

#include <cmath>

#include <ATen/ATen.h>

namespace trireme::worker::nn {

at::Tensor Linear::forward(const at::Tensor& x) const {
  return at::linear(x, weight, bias);
}

Linear make_linear(ParameterSet& set, const std::string& name, std::int64_t in, std::int64_t out) {
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  return {set.uniform(name + ".weight", {out, in}, bound), set.uniform(name + ".bias", {out}, bound)};
}

Linear make_linear_normal(ParameterSet& set, const std::string& name, std::int64_t in, std::int64_t out,
                          double standard_deviation) {
  return {set.normal(name + ".weight", {out, in}, standard_deviation),
          set.constant(name + ".bias", {out}, 0)};
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, epsilon);
}

LayerNorm make_layer_norm(ParameterSet& set, const std::string& name, std::int64_t width, double epsilon) {
  return {set.constant(name + ".weight", {width}, 1), set.constant(name + ".bias", {width}, 0), epsilon};
}

at::Tensor gelu(const at::Tensor& x, bool quick) {
  return quick ? x * at::sigmoid(1.702 * x) : at::gelu(x);
}

at::Tensor self_attention(const at::Tensor& qkv_NL3T, std::int64_t heads, bool causal,
                          const at::Tensor& mask) {
  const std::int64_t sequences = qkv_NL3T.size(0), length = qkv_NL3T.size(1), width = qkv_NL3T.size(2) / 3;
  const auto parts =
      qkv_NL3T.view({sequences, length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  const auto bias = mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt;
  const at::Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], bias, 0.0, causal);
  return mixed.transpose(1, 2).reshape({sequences, length, width});
}

}  // namespace trireme::worker::nn
