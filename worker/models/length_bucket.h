// Texts of few lengths, for passes that are recorded once per shape (worker/kernels/replay/replay.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include <ATen/ATen.h>

namespace trireme::worker::models {

constexpr std::int64_t kLengthBucket = 8;

// Padded to a multiple of it, or to the context. Changes no row: what stands behind an end token is not read.
inline at::Tensor padded_to_bucket(const at::Tensor& tokens_NL, std::int64_t context, std::int64_t pad_id) {
  const std::int64_t length = tokens_NL.size(1);
  const std::int64_t bucket =
      std::min((length + kLengthBucket - 1) / kLengthBucket * kLengthBucket, std::max(length, context));
  return bucket == length ? tokens_NL : at::constant_pad_nd(tokens_NL, {0, bucket - length}, pad_id);
}

}  // namespace trireme::worker::models
