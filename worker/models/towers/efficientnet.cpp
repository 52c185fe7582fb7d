#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers/efficientnet_shape.h"
#include "worker/models/towers/towers.h"
#include "worker/nn/convolution.h"
#include "worker/nn/recompute.h"

namespace trireme::worker::models {
namespace {

using nn::ConvNorm;
using nn::ForwardContext;

// Of a map that nobody else holds: in place where no gradient needs it.
at::Tensor activate(at::Tensor x, bool relu6) {
  if (!at::GradMode::is_enabled()) return relu6 ? at::clamp_(x, 0, 6) : at::silu_(x);
  return relu6 ? at::relu6(x) : at::silu(x);
}

// A 1x1 convolution with bias on pooled features.
struct Dense {
  at::Tensor weight, bias;
  at::Tensor forward(const at::Tensor& x_B) const { return at::conv2d(x_B, weight, bias); }
};

struct Block {
  EfficientNetBlock shape;
  bool relu6 = false;
  double skip_rate = 0;
  std::string name;
  ConvNorm expand, depthwise, project;
  Dense squeeze, excite;

  at::Tensor forward(const at::Tensor& x, const ForwardContext& context) const {
    at::Tensor y = shape.expand != 1 ? activate(expand.forward(x, context), relu6) : x;
    y = activate(depthwise.forward(y, context), relu6);
    if (shape.squeeze > 0) {
      const at::Tensor pooled = y.mean(at::IntArrayRef{2, 3}, true);
      y = y * at::sigmoid(excite.forward(at::silu(squeeze.forward(pooled))));
    }
    y = project.forward(y, context);
    return shape.residual ? x + nn::stochastic_depth(y, skip_rate, context, name) : y;
  }

  std::vector<at::Tensor> parameters() const {
    std::vector<at::Tensor> all;
    for (const ConvNorm* layer : {&expand, &depthwise, &project})
      if (layer->kernel.defined()) all.insert(all.end(), {layer->kernel, layer->weight, layer->bias});
    if (shape.squeeze > 0) all.insert(all.end(), {squeeze.weight, squeeze.bias, excite.weight, excite.bias});
    return all;
  }
};

nn::NormPolicy policy_of(jobs::BatchNormPolicy named) {
  return named == jobs::BatchNormPolicy::kStored  ? nn::NormPolicy::kStored
         : named == jobs::BatchNormPolicy::kBatch ? nn::NormPolicy::kBatch
                                                  : nn::NormPolicy::kGhost;
}

class EfficientNet final : public Tower {
 public:
  EfficientNet(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set)
      : shape_(efficientnet_shape(spec)),
        padding_(padding_of(spec.padding)),
        norm_{policy_of(spec.batch_norm.policy), spec.batch_norm.group, spec.batch_norm.epsilon},
        recompute_(spec.gradient_checkpointing) {
    stem_ = conv_norm(set, "visual._conv_stem", "visual._bn0", 3, shape_.stem, 3, 2, 1);
    for (std::size_t i = 0; i < shape_.blocks.size(); ++i) add_block(set, i, spec.stochastic_depth);
    if (shape_.head > 0)
      head_ =
          conv_norm(set, "visual._conv_head", "visual._bn1", shape_.blocks.back().out, shape_.head, 1, 1, 1);
  }

  std::int64_t width() const override { return shape_.width(); }
  std::int64_t norm_channels() const override {
    return norm_.policy == nn::NormPolicy::kStored ? 0 : channels_;
  }

  at::Tensor forward(const at::Tensor& image_BCHW, const ForwardContext& context) const override {
    return map(image_BCHW, context).mean(at::IntArrayRef{2, 3});
  }

  at::Tensor tokens(const at::Tensor& image_BCHW, const ForwardContext& context) const override {
    return map(image_BCHW, context).flatten(2).transpose(1, 2);
  }

 private:
  // The last map, [B, width(), h, w].
  at::Tensor map(const at::Tensor& image_BCHW, const ForwardContext& context) const {
    if (image_BCHW.dim() != 4 || image_BCHW.size(1) != 3)
      throw Error(ErrorKind::kInvalid, "EfficientNet takes images [B, 3, H, W]");
    count_groups(image_BCHW.size(0), context);
    at::Tensor x =
        activate(stem_.forward(image_BCHW.contiguous(at::MemoryFormat::ChannelsLast), context), shape_.relu6);
    for (const Block& block : blocks_) x = run(block, x, context);
    if (shape_.head > 0) x = activate(head_.forward(x, context), shape_.relu6);
    return x;
  }

  at::Tensor run(const Block& block, const at::Tensor& x, const ForwardContext& context) const {
    if (!recompute_) return block.forward(x, context);
    return nn::recompute(
        [&block, context](const at::Tensor& input, bool again) {
          ForwardContext here = context;
          if (again) here.statistics = nullptr;
          return block.forward(input, here);
        },
        x, block.parameters());
  }

  void count_groups(std::int64_t rows, const ForwardContext& context) const {
    if (!context.training || context.statistics == nullptr || norm_channels() == 0) return;
    const bool whole = norm_.policy == nn::NormPolicy::kBatch || rows <= norm_.group;
    context.statistics->count_groups(whole ? 1 : (rows + norm_.group - 1) / norm_.group);
  }

  ConvNorm conv_norm(nn::ParameterSet& set, const std::string& conv, const std::string& norm, std::int64_t in,
                     std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t groups) {
    ConvNorm layer = nn::make_conv_norm(set, conv, norm, in, out, kernel, stride, groups);
    layer.padding = padding_;
    layer.norm = norm_;
    layer.first_channel = channels_;
    channels_ += out;
    return layer;
  }

  static Dense dense(nn::ParameterSet& set, const std::string& name, std::int64_t in, std::int64_t out) {
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    return {set.uniform(name + ".weight", {out, in, 1, 1}, bound), set.uniform(name + ".bias", {out}, bound)};
  }

  void add_block(nn::ParameterSet& set, std::size_t index, double depth_rate) {
    const std::string prefix = "visual._blocks." + std::to_string(index);
    Block block;
    block.shape = shape_.blocks[index];
    block.relu6 = shape_.relu6;
    block.name = prefix;
    block.skip_rate = depth_rate * static_cast<double>(index) / static_cast<double>(shape_.blocks.size());
    const auto& [kernel, stride, expand, in, out, squeeze, residual] = block.shape;
    const std::int64_t inner = in * expand;
    if (expand != 1)
      block.expand = conv_norm(set, prefix + "._expand_conv", prefix + "._bn0", in, inner, 1, 1, 1);
    block.depthwise =
        conv_norm(set, prefix + "._depthwise_conv", prefix + "._bn1", inner, inner, kernel, stride, inner);
    if (squeeze > 0) {
      block.squeeze = dense(set, prefix + "._se_reduce", inner, squeeze);
      block.excite = dense(set, prefix + "._se_expand", squeeze, inner);
    }
    block.project = conv_norm(set, prefix + "._project_conv", prefix + "._bn2", inner, out, 1, 1, 1);
    blocks_.push_back(block);
  }

  EfficientNetShape shape_;
  nn::Padding padding_;
  nn::BatchNormOptions norm_;
  std::int64_t channels_ = 0;
  bool recompute_;
  ConvNorm stem_, head_;
  std::vector<Block> blocks_;
};

}  // namespace

nn::Padding padding_of(jobs::PaddingKind named) {
  return named == jobs::PaddingKind::kSame        ? nn::Padding::kSame
         : named == jobs::PaddingKind::kSymmetric ? nn::Padding::kSymmetric
                                                  : nn::Padding::kAsymmetric;
}

std::unique_ptr<Tower> make_efficientnet(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set) {
  return std::make_unique<EfficientNet>(spec, set);
}

}  // namespace trireme::worker::models
