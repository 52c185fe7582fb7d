#include "worker/nn/convolution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

namespace trireme::worker::nn {
namespace {

// One group on its own statistics; adds them to the collector.
at::Tensor normalize_group(const ConvNorm& layer, const at::Tensor& y_BCHW, BatchStatistics* statistics) {
  auto [out, mean_C, inverse_std_C] =
      at::native_batch_norm(y_BCHW, layer.weight, layer.bias, {}, {}, true, 0.0, layer.norm.epsilon);
  if (statistics != nullptr) {
    const std::int64_t of_channel = y_BCHW.numel() / y_BCHW.size(1);
    const auto count = static_cast<double>(of_channel);
    const at::Tensor variance_C = inverse_std_C.detach().pow(-2) - layer.norm.epsilon;
    statistics->add(layer.first_channel, mean_C, variance_C * (count / std::max(1.0, count - 1)));
  }
  return out;
}

}  // namespace

Margin margin_of(Padding padding, std::int64_t side, std::int64_t kernel, std::int64_t stride) {
  const std::int64_t half = (kernel - 1) / 2;
  if (stride == 1 || padding == Padding::kSymmetric) return {half, half};
  if (padding == Padding::kAsymmetric) return {std::max<std::int64_t>(half - 1, 0), half};
  const std::int64_t outputs = (side + stride - 1) / stride;
  const std::int64_t total = std::max<std::int64_t>((outputs - 1) * stride + kernel - side, 0);
  return {total / 2, total - total / 2};
}

std::int64_t side_after(Padding padding, std::int64_t side, std::int64_t kernel, std::int64_t stride) {
  const Margin margin = margin_of(padding, side, kernel, stride);
  return (side + margin.before + margin.after - kernel) / stride + 1;
}

at::Tensor ConvNorm::forward(const at::Tensor& x_BCHW, const ForwardContext& context) const {
  const std::int64_t size = kernel.size(2);
  const Margin rows = margin_of(padding, x_BCHW.size(2), size, stride);
  const Margin columns = margin_of(padding, x_BCHW.size(3), size, stride);
  const bool even = rows.before == rows.after && columns.before == columns.after;
  const at::Tensor padded =
      even ? x_BCHW : at::constant_pad_nd(x_BCHW, {columns.before, columns.after, rows.before, rows.after});
  const std::array<std::int64_t, 2> pad{even ? rows.before : 0, even ? columns.before : 0};
  if (!at::GradMode::is_enabled() && !context.training) {
    // Scale and shift go into the convolution: a pass over the map less.
    const at::Tensor scale = weight / (variance + norm.epsilon).sqrt();
    return at::conv2d(padded, kernel * scale.view({-1, 1, 1, 1}), bias - mean * scale, {stride, stride}, pad,
                      {1, 1}, groups);
  }
  return normalize(at::conv2d(padded, kernel, {}, {stride, stride}, pad, {1, 1}, groups), context);
}

at::Tensor ConvNorm::normalize(const at::Tensor& y_BCHW, const ForwardContext& context) const {
  if (!context.training || norm.policy == NormPolicy::kStored || !weight.requires_grad())
    return at::batch_norm(y_BCHW, weight, bias, mean, variance, false, 0.0, norm.epsilon, false);
  const std::int64_t rows = y_BCHW.size(0);
  if (norm.policy == NormPolicy::kBatch || rows <= norm.group)
    return normalize_group(*this, y_BCHW, context.statistics);
  std::vector<at::Tensor> groups_of_rows;
  for (std::int64_t first = 0; first < rows; first += norm.group)
    groups_of_rows.push_back(normalize_group(
        *this, y_BCHW.narrow(0, first, std::min(norm.group, rows - first)), context.statistics));
  return at::cat(groups_of_rows, 0);
}

ConvNorm make_conv_norm(ParameterSet& set, const std::string& conv, const std::string& norm, std::int64_t in,
                        std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t groups) {
  const std::int64_t outputs = kernel * kernel * out / groups;
  const auto fan_out = static_cast<double>(outputs);
  ConvNorm layer;
  layer.kernel = set.normal(conv + ".weight", {out, in / groups, kernel, kernel}, std::sqrt(2 / fan_out));
  layer.weight = set.constant(norm + ".weight", {out}, 1);
  layer.bias = set.constant(norm + ".bias", {out}, 0);
  layer.mean = set.constant(norm + ".running_mean", {out}, 0, true);
  layer.variance = set.constant(norm + ".running_var", {out}, 1, true);
  layer.stride = stride;
  layer.groups = groups;
  return layer;
}

}  // namespace trireme::worker::nn
