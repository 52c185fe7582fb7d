// Convolution without bias followed by batch norm, as EfficientNet is built of (METHODS 4.2, 4.3). Maps are
// [B, C, H, W] in channels-last memory. const and thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "worker/nn/forward_context.h"
#include "worker/nn/parameter_set.h"

namespace trireme::worker::nn {

// Zeros around a map of side H before a k x k convolution of stride s; out = floor((H + before + after - k) /
// s) + 1. With stride 1 all are (k-1)/2 on either side.
//   kAsymmetric  stride 2: (k-1)/2 - 1 before, (k-1)/2 after, at any H (ALIGN, HF; the stem 0 and 1)
//   kSame        stride 2: TensorFlow's SAME, ceil(H/s) outputs, the odd zero after
//   kSymmetric   (k-1)/2 on either side (PyTorch)
enum class Padding { kAsymmetric, kSame, kSymmetric };
struct Margin {
  std::int64_t before = 0, after = 0;
};
Margin margin_of(Padding padding, std::int64_t side, std::int64_t kernel, std::int64_t stride);
std::int64_t side_after(Padding padding, std::int64_t side, std::int64_t kernel, std::int64_t stride);

// Where a batch norm takes its statistics in training. In evaluation, and wherever its scale is not trained,
// it takes the stored ones. kBatch: all rows of the call; kGhost: consecutive groups of `group` rows (a last
// group may be smaller). New statistics are not stored here but added to ForwardContext::statistics.
enum class NormPolicy { kStored, kBatch, kGhost };

struct BatchNormOptions {
  NormPolicy policy = NormPolicy::kStored;
  std::int64_t group = 16;
  double epsilon = 1e-3;
};

struct ConvNorm {
  at::Tensor kernel;          // [out, in/groups, k, k]
  at::Tensor weight, bias;    // scale and shift [out]
  at::Tensor mean, variance;  // buffers [out]
  std::int64_t stride = 1, groups = 1;
  std::int64_t first_channel = 0;  // in BatchStatistics
  Padding padding = Padding::kSame;
  BatchNormOptions norm;

  at::Tensor forward(const at::Tensor& x_BCHW, const ForwardContext& context) const;

 private:
  at::Tensor normalize(const at::Tensor& y_BCHW, const ForwardContext& context) const;
};

// Tensors `conv`.weight (normal with variance 2 / fan out) and `norm`.{weight, bias, running_mean,
// running_var}.
ConvNorm make_conv_norm(ParameterSet& set, const std::string& conv, const std::string& norm, std::int64_t in,
                        std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t groups);

}  // namespace trireme::worker::nn
