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

at::Tensor activate(const at::Tensor& x, Activation activation) {
  if (activation == Activation::kQuickGelu) return x * at::sigmoid(1.702 * x);
  return activation == Activation::kTanhGelu ? at::gelu(x, "tanh") : at::gelu(x);
}

Rotary rotary_of_square(std::int64_t side, std::int64_t head_width, std::int64_t before, bool columns_first,
                        double offset, double reference, const at::Device& device) {
  const auto options = at::TensorOptions(at::kFloat).device(device);
  const std::int64_t bands = head_width / 4;
  const at::Tensor step_F =
      at::pow(10000.0, at::arange(bands, options) / static_cast<double>(bands)).reciprocal();
  const at::Tensor place_S = (at::arange(side, options) + offset) / static_cast<double>(side) * reference;
  const at::Tensor slow_PF = place_S.repeat_interleave(side).unsqueeze(1) * step_F;
  const at::Tensor fast_PF = place_S.repeat({side}).unsqueeze(1) * step_F;
  const at::Tensor angle_PD =
      at::cat(columns_first ? std::vector{fast_PF, slow_PF} : std::vector{slow_PF, fast_PF}, 1)
          .repeat_interleave(2, 1);
  return {at::cat({at::zeros({before, head_width}, options), angle_PD.sin()}),
          at::cat({at::ones({before, head_width}, options), angle_PD.cos()})};
}

namespace {

at::Tensor turned(const at::Tensor& x_NHLD, const Rotary& rotary) {
  const auto pairs = x_NHLD.unflatten(-1, {-1, 2}).unbind(-1);
  const at::Tensor across = at::stack({-pairs[1], pairs[0]}, -1).flatten(-2);
  return (x_NHLD * rotary.cosine_LD + across * rotary.sine_LD).to(x_NHLD.scalar_type());
}

}  // namespace

at::Tensor self_attention(const at::Tensor& qkv_NL3T, std::int64_t heads, bool causal, const at::Tensor& mask,
                          const Rotary& rotary) {
  const std::int64_t sequences = qkv_NL3T.size(0), length = qkv_NL3T.size(1), width = qkv_NL3T.size(2) / 3;
  auto parts = qkv_NL3T.view({sequences, length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  if (rotary.sine_LD.defined())
    for (const std::size_t i : {0, 1}) parts[i] = turned(parts[i], rotary);
  const auto bias = mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt;
  const at::Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], bias, 0.0, causal);
  return mixed.transpose(1, 2).reshape({sequences, length, width});
}

}  // namespace trireme::worker::nn
