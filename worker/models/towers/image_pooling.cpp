#include "worker/models/towers/image_pooling.h"

#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::models {
namespace {

constexpr double kLatentDeviation = 0.02;
constexpr std::int64_t kCocaHeads = 8, kCocaQueries = 256;

std::int64_t checked_heads(std::int64_t heads, std::int64_t width) {
  if (width % heads != 0)
    throw Error(ErrorKind::kInvalid, "image tower: " + std::to_string(heads) +
                                         " pooling_heads do not divide " + std::to_string(width));
  return heads;
}

// One query row for all images, keys and values [B, L, D] -> [B, D].
at::Tensor attend(const at::Tensor& query_1D, const at::Tensor& key_BLD, const at::Tensor& value_BLD,
                  std::int64_t heads) {
  const std::int64_t batch = key_BLD.size(0), width = key_BLD.size(2);
  const auto split = [&](const at::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads, width / heads}).transpose(1, 2);
  };
  const at::Tensor query = split(query_1D.view({1, 1, width}).expand({batch, 1, width}));
  return at::scaled_dot_product_attention(query, split(key_BLD), split(value_BLD))
      .transpose(1, 2)
      .reshape({batch, width});
}

at::Tensor uniform(nn::ParameterSet& set, const std::string& name, std::int64_t out, std::int64_t in) {
  return set.uniform(name, {out, in}, 1 / std::sqrt(static_cast<double>(in)));
}

}  // namespace

AttentionPool::AttentionPool(const jobs::ImageTowerSpec& spec, nn::Activation activation,
                             nn::ParameterSet& set)
    : heads_(checked_heads(spec.pooling_heads.value_or(spec.heads), spec.width)), activation_(activation) {
  const std::string name = "visual.attn_pool.";
  const std::int64_t width = spec.width,
                     mlp = spec.pooling_mlp_width.value_or(spec.mlp_width.value_or(4 * width));
  latent_ = set.normal(name + "latent", {1, 1, width}, kLatentDeviation);
  in_proj_.weight = uniform(set, name + "in_proj_weight", 3 * width, width);
  in_proj_.bias = set.constant(name + "in_proj_bias", {3 * width}, 0);
  proj_ = nn::make_linear(set, name + "proj", width, width);
  norm_ = nn::make_layer_norm(set, name + "norm", width, spec.layer_norm_epsilon);
  fc1_ = nn::make_linear(set, name + "mlp.fc1", width, mlp);
  fc2_ = nn::make_linear(set, name + "mlp.fc2", mlp, width);
}

at::Tensor AttentionPool::forward(const at::Tensor& x_BLT) const {
  const std::int64_t width = x_BLT.size(2);
  const at::Tensor query = at::linear(latent_.view({1, width}), in_proj_.weight.slice(0, 0, width),
                                      in_proj_.bias.slice(0, 0, width));
  const auto parts =
      at::linear(x_BLT, in_proj_.weight.slice(0, width), in_proj_.bias.slice(0, width)).chunk(2, 2);
  const at::Tensor mixed = proj_.forward(attend(query, parts[0], parts[1], heads_));
  return mixed + fc2_.forward(nn::activate(fc1_.forward(norm_.forward(mixed)), activation_));
}

QueryPool::QueryPool(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set)
    : heads_(spec.pooling_heads.value_or(kCocaHeads)), width_(spec.pooling_width.value_or(spec.width)) {
  checked_heads(heads_, width_);
  const std::string name = "visual.attn_pool.";
  query_ = set.normal(name + "query", {spec.pooling_queries.value_or(kCocaQueries), width_}, 1);
  if (width_ == spec.width) {
    const at::Tensor all = uniform(set, name + "attn.in_proj_weight", 3 * width_, width_);
    weight_q_ = all.slice(0, 0, width_);
    weight_k_ = all.slice(0, width_, 2 * width_);
    weight_v_ = all.slice(0, 2 * width_);
  } else {
    weight_q_ = uniform(set, name + "attn.q_proj_weight", width_, width_);
    weight_k_ = uniform(set, name + "attn.k_proj_weight", width_, spec.width);
    weight_v_ = uniform(set, name + "attn.v_proj_weight", width_, spec.width);
  }
  bias_ = set.constant(name + "attn.in_proj_bias", {3 * width_}, 0);
  out_ = nn::make_linear(set, name + "attn.out_proj", width_, width_);
  ln_q_ = nn::make_layer_norm(set, name + "ln_q", width_, spec.layer_norm_epsilon);
  ln_k_ = nn::make_layer_norm(set, name + "ln_k", spec.width, spec.layer_norm_epsilon);
}

at::Tensor QueryPool::forward(const at::Tensor& x_BLT) const {
  const at::Tensor x = ln_k_.forward(x_BLT);
  const auto bias = bias_.chunk(3);
  const at::Tensor query = at::linear(ln_q_.forward(query_.slice(0, 0, 1)), weight_q_, bias[0]);
  return out_.forward(
      attend(query, at::linear(x, weight_k_, bias[1]), at::linear(x, weight_v_, bias[2]), heads_));
}

}  // namespace trireme::worker::models
