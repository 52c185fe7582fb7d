// row_products.h on tensors and torch's intra-op threads, for inference. Where those kernels do not apply (a
// machine without AVX-512, another device or dtype, autocast, tensors that want gradients, more than kFewRows
// rows, widths that are no multiple of 16) the same by torch's operators. Thread-safe.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::worker::kernels {

inline constexpr std::int64_t kFewRows = 128;  // beyond, repacking the matrix has paid

// x W^T + b: x [..., in], weight [out, in], bias [out].
at::Tensor linear_of_few(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// softmax(query token^T) token, without a scale: [N, Q, T] by [N, S, T] -> [N, Q, T].
at::Tensor attend_tokens(const at::Tensor& query_NQT, const at::Tensor& token_NST);

}  // namespace trireme::worker::kernels
