// The last step of both towers: optional standardisation, a linear map into the shared space, L2 norm.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

#include "jobs/specification/image_tower_spec.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::models {

class Projection {
 public:
  // CLIP's: y = x P, P [T, D] normal with T^-0.5, one tensor called `name`.
  static Projection matrix(nn::ParameterSet& set, const std::string& name, std::int64_t in, std::int64_t out);
  // y = x W^T + b, `name`.weight and `name`.bias, PyTorch's default init.
  static Projection linear(nn::ParameterSet& set, const std::string& name, std::int64_t in, std::int64_t out);

  // y = x: the tower is as wide as the shared space (ALIGN's B7 and L2).
  static Projection none() { return {}; }
  // `kind` as in the tower's resolved spec; throws kInvalid when kNone does not fit.
  static Projection make(nn::ParameterSet& set, jobs::ProjectionKind kind, const std::string& name,
                         std::int64_t in, std::int64_t out);

  // [N, T] -> [N, D], float32 even under autocast; rows of norm 1.
  at::Tensor forward(const at::Tensor& features_NT) const;

  // Undefined until set: identity. [T] float32 each.
  at::Tensor mean_T, inverse_std_T;

 private:
  at::Tensor matrix_TD_, weight_DT_, bias_D_;
};

}  // namespace trireme::worker::models
