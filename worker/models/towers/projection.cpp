#include "worker/models/towers/projection.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include "common/base/error.h"
#include "worker/nn/layers.h"

namespace trireme::worker::models {

Projection Projection::matrix(nn::ParameterSet& set, const std::string& name, std::int64_t in,
                              std::int64_t out) {
  Projection projection;
  projection.matrix_TD_ = set.normal(name, {in, out}, 1 / std::sqrt(static_cast<double>(in)));
  return projection;
}

Projection Projection::linear(nn::ParameterSet& set, const std::string& name, std::int64_t in,
                              std::int64_t out) {
  Projection projection;
  const nn::Linear layer = nn::make_linear(set, name, in, out);
  projection.weight_DT_ = layer.weight;
  projection.bias_D_ = layer.bias;
  return projection;
}

Projection Projection::make(nn::ParameterSet& set, jobs::ProjectionKind kind, const std::string& name,
                            std::int64_t in, std::int64_t out) {
  if (kind == jobs::ProjectionKind::kMatrix) return matrix(set, name, in, out);
  if (kind == jobs::ProjectionKind::kLinear) return linear(set, name, in, out);
  if (in != out)
    throw Error(ErrorKind::kInvalid,
                "a tower without a projection is " + std::to_string(in) + " wide, embed_dim is " +
                    std::to_string(out),
                "set embed_dim to " + std::to_string(in) + ", or projection to linear");
  return none();
}

at::Tensor Projection::forward(const at::Tensor& features_NT) const {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  at::Tensor x_NT = features_NT.to(at::kFloat);
  if (mean_T.defined()) x_NT = (x_NT - mean_T) * inverse_std_T;
  const at::Tensor y_ND = matrix_TD_.defined()   ? at::matmul(x_NT, matrix_TD_)
                          : weight_DT_.defined() ? at::linear(x_NT, weight_DT_, bias_D_)
                                                 : x_NT;
  return y_ND / y_ND.norm(2, {-1}, true).clamp_min(1e-12);
}

}  // namespace trireme::worker::models
