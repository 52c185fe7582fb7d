// How a vision transformer's tokens become one vector where that takes weights of its own. Both attend from
// learnt queries to all tokens; const and thread-safe. Legend: B images, L tokens, T width, D pooled width.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "jobs/specification/model_spec.h"
#include "worker/nn/layers.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

// SigLIP's head: a = out(attention(probe, x)); y = a + fc2(act(fc1(norm a))). Names "visual.attn_pool.latent"
// [1, 1, T], ".in_proj_weight" and ".in_proj_bias" (rows q, k, v), ".proj", ".norm", ".mlp.fc1", ".mlp.fc2".
class AttentionPool {
 public:
  AttentionPool(const jobs::ImageTowerSpec& spec, nn::Activation activation, nn::ParameterSet& set);
  at::Tensor forward(const at::Tensor& x_BLT) const;  // behind the last norm -> [B, T]

 private:
  std::int64_t heads_;
  nn::Activation activation_;
  at::Tensor latent_;
  nn::Linear in_proj_, proj_, fc1_, fc2_;
  nn::LayerNorm norm_;
};

// CoCa's: y = out(attention(ln_q query_0, ln_k x)), the first of `pooling_queries` queries; the others serve
// a decoder. Names "visual.attn_pool.query" [Q, D], ".ln_q", ".ln_k", ".attn.{q,k,v}_proj_weight" (or
// ".attn.in_proj_weight" where T = D), ".attn.in_proj_bias", ".attn.out_proj".
class QueryPool {
 public:
  QueryPool(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set);
  at::Tensor forward(const at::Tensor& x_BLT) const;  // [B, D]

 private:
  std::int64_t heads_, width_;
  at::Tensor query_, weight_q_, weight_k_, weight_v_, bias_;
  nn::LayerNorm ln_q_, ln_k_;
  nn::Linear out_;
};

}  // namespace trireme::worker::models
