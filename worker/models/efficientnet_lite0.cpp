#include <array>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers.h"

namespace trireme::worker::models {
namespace {

constexpr double kBatchNormEpsilon = 1e-3;
constexpr std::int64_t kStem = 32, kHead = 1280;

struct Stage {
  std::int64_t repeats, kernel, stride, expand, in, out;
};
constexpr std::array<Stage, 7> kStages{{{1, 3, 1, 1, 32, 16},
                                        {2, 3, 2, 6, 16, 24},
                                        {2, 5, 2, 6, 24, 40},
                                        {3, 3, 2, 6, 40, 80},
                                        {3, 5, 1, 6, 80, 112},
                                        {4, 5, 2, 6, 112, 192},
                                        {1, 3, 1, 6, 192, 320}}};

// Convolution without bias, SAME padding (ceil(size / stride) outputs, the odd pixel after), then batch norm
// on stored statistics.
struct ConvNorm {
  at::Tensor kernel, weight, bias, mean, variance;
  std::int64_t stride = 1, groups = 1;

  at::Tensor forward(const at::Tensor& x) const {
    const std::int64_t size = kernel.size(2);
    const auto total = [&](std::int64_t extent) {
      const std::int64_t outputs = (extent + stride - 1) / stride;
      return std::max<std::int64_t>((outputs - 1) * stride + size - extent, 0);
    };
    const std::int64_t rows = total(x.size(2)), columns = total(x.size(3));
    const bool even = rows % 2 == 0 && columns % 2 == 0;
    const at::Tensor padded =
        even ? x : at::constant_pad_nd(x, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2});
    const std::array<std::int64_t, 2> pad{even ? rows / 2 : 0, even ? columns / 2 : 0};
    const at::Tensor y = at::conv2d(padded, kernel, {}, {stride, stride}, pad, {1, 1}, groups);
    return at::batch_norm(y, weight, bias, mean, variance, false, 0.01, kBatchNormEpsilon, false);
  }
};

ConvNorm make_conv_norm(nn::ParameterSet& set, const std::string& conv, const std::string& norm,
                        std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                        std::int64_t groups) {
  const double fan_out = static_cast<double>(kernel * kernel * out / groups);
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

struct Block {
  bool expands = false, residual = false;
  ConvNorm expand, depthwise, project;

  at::Tensor forward(const at::Tensor& x) const {
    at::Tensor y = expands ? at::relu6(expand.forward(x)) : x;
    y = project.forward(at::relu6(depthwise.forward(y)));
    return residual ? y + x : y;
  }
};

class EfficientNetLite0 final : public Tower {
 public:
  explicit EfficientNetLite0(nn::ParameterSet& set) {
    stem_ = make_conv_norm(set, "visual._conv_stem", "visual._bn0", 3, kStem, 3, 2, 1);
    for (const Stage& stage : kStages)
      for (std::int64_t repeat = 0; repeat < stage.repeats; ++repeat) add_block(set, stage, repeat == 0);
    head_ = make_conv_norm(set, "visual._conv_head", "visual._bn1", kStages.back().out, kHead, 1, 1, 1);
  }

  std::int64_t width() const override { return kHead; }

  at::Tensor forward(const at::Tensor& image_BCHW) const override {
    if (image_BCHW.dim() != 4 || image_BCHW.size(1) != 3)
      throw Error(ErrorKind::kInvalid, "EfficientNet takes images [B, 3, H, W]");
    at::Tensor x = at::relu6(stem_.forward(image_BCHW.contiguous(at::MemoryFormat::ChannelsLast)));
    for (const Block& block : blocks_) x = block.forward(x);
    return at::relu6(head_.forward(x)).mean(at::IntArrayRef{2, 3});
  }

 private:
  void add_block(nn::ParameterSet& set, const Stage& stage, bool first) {
    const std::string prefix = "visual._blocks." + std::to_string(blocks_.size());
    const std::int64_t in = first ? stage.in : stage.out, inner = in * stage.expand;
    const std::int64_t stride = first ? stage.stride : 1;
    Block block;
    block.expands = stage.expand != 1;
    block.residual = stride == 1 && in == stage.out;
    if (block.expands)
      block.expand = make_conv_norm(set, prefix + "._expand_conv", prefix + "._bn0", in, inner, 1, 1, 1);
    block.depthwise = make_conv_norm(set, prefix + "._depthwise_conv", prefix + "._bn1", inner, inner,
                                     stage.kernel, stride, inner);
    block.project =
        make_conv_norm(set, prefix + "._project_conv", prefix + "._bn2", inner, stage.out, 1, 1, 1);
    blocks_.push_back(block);
  }

  ConvNorm stem_, head_;
  std::vector<Block> blocks_;
};

}  // namespace

std::unique_ptr<Tower> make_efficientnet_lite0(nn::ParameterSet& set) {
  return std::make_unique<EfficientNetLite0>(set);
}

}  // namespace trireme::worker::models
