#include <cmath>
#include <optional>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/kernels/sent.h"
#include "worker/models/towers/image_pooling.h"
#include "worker/models/towers/towers.h"
#include "worker/nn/transformer.h"

namespace trireme::worker::models {
namespace {

class VisionTransformer final : public Tower {
 public:
  VisionTransformer(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set)
      : spec_(spec),
        grid_(spec.image_px / spec.patch_px),
        before_(spec.no_class_token ? 0 : 1),
        class_embedding_(before_ > 0 ? set.normal("visual.class_embedding", {spec.width}, scale())
                                     : at::Tensor()),
        positional_embedding_(
            set.normal("visual.positional_embedding", {grid_ * grid_ + before_, spec.width}, scale())),
        conv1_(set.uniform("visual.conv1.weight", {spec.width, 3, spec.patch_px, spec.patch_px}, bound())),
        conv1_bias_(spec.patch_bias ? set.uniform("visual.conv1.bias", {spec.width}, bound()) : at::Tensor()),
        ln_pre_(spec.ln_pre ? nn::make_layer_norm(set, "visual.ln_pre", spec.width, spec.layer_norm_epsilon)
                            : nn::LayerNorm()),
        transformer_(set, "visual.transformer",
                     {.width = spec.width,
                      .layers = spec.layers,
                      .heads = spec.heads,
                      .mlp_width = spec.mlp_width.value_or(0),
                      .activation = activation_of(spec.activation, spec.quick_gelu),
                      .causal = false,
                      .post_norm = spec.post_norm,
                      .gated_mlp = spec.gated_mlp,
                      .attention_norm = spec.attention_norm,
                      .mlp_norm = spec.mlp_norm,
                      .layer_scale = spec.layer_scale,
                      .layer_norm_epsilon = spec.layer_norm_epsilon,
                      .stochastic_depth = spec.stochastic_depth,
                      .gradient_checkpointing = spec.gradient_checkpointing},
                     false) {
    if (spec.pooling == jobs::ImagePooling::kAttention)
      attention_.emplace(spec, activation_of(spec.activation, spec.quick_gelu), set);
    if (spec.pooling == jobs::ImagePooling::kQueries) queries_.emplace(spec, set);
    ln_post_ = nn::make_layer_norm(set, "visual.ln_post", width(), spec.layer_norm_epsilon);
  }

  std::int64_t width() const override {
    return queries_ ? spec_.pooling_width.value_or(spec_.width) : spec_.width;
  }

  at::Tensor forward(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const override {
    const at::Tensor x_BLT = start(image_BCHW, context);
    const std::int64_t batch = x_BLT.size(0), length = x_BLT.size(1);
    if (spec_.pooling != jobs::ImagePooling::kUnset && spec_.pooling != jobs::ImagePooling::kClass)
      return pool(transformer_.forward(x_BLT, context, rotary(x_BLT)));
    const at::Tensor class_B = at::arange(batch, x_BLT.options().dtype(at::kLong)) * length;
    const at::Tensor x_MT = x_BLT.view({batch * length, spec_.width});
    return ln_post_.forward(
        transformer_.read(x_MT, {batch, length, {}, class_B, class_B, {}, rotary(x_BLT)}, context));
  }

  at::Tensor tokens(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const override {
    const at::Tensor x_BLT = start(image_BCHW, context);
    return ln_post_.forward(transformer_.forward(x_BLT, context, rotary(x_BLT)));
  }

 private:
  // What the first block reads.
  at::Tensor start(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const {
    if (image_BCHW.dim() != 4 || image_BCHW.size(1) != 3 || image_BCHW.size(2) != spec_.image_px ||
        image_BCHW.size(3) != spec_.image_px)
      throw Error(ErrorKind::kInvalid, "the vision transformer takes images [B, 3, " +
                                           std::to_string(spec_.image_px) + ", " +
                                           std::to_string(spec_.image_px) + "]");
    const at::Tensor x_BLT = embed(image_BCHW, context);
    return spec_.ln_pre ? ln_pre_.forward(x_BLT) : x_BLT;
  }

  nn::Rotary rotary(const at::Tensor& x_BLT) const {
    if (spec_.rotary == jobs::RotaryOrder::kOff) return {};
    return nn::rotary_of_square(grid_, spec_.width / spec_.heads, before_,
                                spec_.rotary == jobs::RotaryOrder::kXy,
                                static_cast<double>(spec_.rotary_offset.value_or(0)),
                                static_cast<double>(spec_.rotary_reference.value_or(grid_)), x_BLT.device());
  }

  at::Tensor pool(const at::Tensor& x_BLT) const {
    if (queries_) return ln_post_.forward(queries_->forward(x_BLT));
    if (attention_) return attention_->forward(ln_post_.forward(x_BLT));
    if (spec_.norm_after_pooling) return ln_post_.forward(x_BLT.slice(1, before_).mean(1));
    return ln_post_.forward(x_BLT.slice(1, before_)).mean(1);
  }

  double scale() const { return 1 / std::sqrt(static_cast<double>(spec_.width)); }
  double bound() const { return 1 / std::sqrt(3.0 * static_cast<double>(spec_.patch_px * spec_.patch_px)); }

  // Class token and patches with their positions; what is left of the picture beside whole patches is not
  // seen, as a convolution leaves it out. A patch convolution of stride = kernel is one matrix
  // product over unfolded patches; those that training drops are left out before it.
  at::Tensor embed(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const {
    const std::int64_t batch = image_BCHW.size(0), p = spec_.patch_px, inner = 3 * p * p;
    const at::Tensor whole_BCHW = image_BCHW.narrow(2, 0, grid_ * p).narrow(3, 0, grid_ * p);
    at::Tensor patches_BGK = whole_BCHW.contiguous()
                                 .view({batch, 3, grid_, p, grid_, p})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({batch, grid_ * grid_, inner});
    at::Tensor position_GT = positional_embedding_.slice(0, before_);
    if (context.training && spec_.patch_dropout > 0) {
      const at::Tensor kept_BK = kernels::sent_to(
          nn::kept_patches(batch, grid_ * grid_, spec_.patch_dropout, context), image_BCHW.device());
      patches_BGK = patches_BGK.gather(1, kept_BK.unsqueeze(2).expand({-1, -1, inner}));
      position_GT = at::embedding(position_GT, kept_BK);
    }
    const auto bias = conv1_bias_.defined() ? std::optional<at::Tensor>(conv1_bias_) : std::nullopt;
    const at::Tensor x_BLT = at::linear(patches_BGK, conv1_.view({spec_.width, inner}), bias);
    const auto dtype = x_BLT.scalar_type();
    if (before_ == 0) return x_BLT + position_GT.to(dtype);
    const at::Tensor first_T = (class_embedding_ + positional_embedding_.select(0, 0)).to(dtype);
    return at::cat({first_T.expand({batch, 1, spec_.width}), x_BLT + position_GT.to(dtype)}, 1);
  }

  jobs::ImageTowerSpec spec_;
  std::int64_t grid_, before_;  // patches a side, tokens before them
  at::Tensor class_embedding_, positional_embedding_, conv1_, conv1_bias_;
  nn::LayerNorm ln_pre_;
  nn::Transformer transformer_;
  std::optional<AttentionPool> attention_;
  std::optional<QueryPool> queries_;
  nn::LayerNorm ln_post_;
};

}  // namespace

nn::Activation activation_of(jobs::ActivationKind named, bool quick_gelu) {
  if (named == jobs::ActivationKind::kGeluTanh) return nn::Activation::kTanhGelu;
  return quick_gelu ? nn::Activation::kQuickGelu : nn::Activation::kGelu;
}

std::unique_ptr<Tower> make_vision_transformer(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set) {
  if (spec.heads < 1 || spec.width % spec.heads != 0)
    throw Error(ErrorKind::kInvalid,
                "image tower: width " + std::to_string(spec.width) + " is not a multiple of its " +
                    std::to_string(spec.heads) + " heads",
                "choose heads that divide width");
  if (spec.patch_px < 1 || spec.image_px < spec.patch_px)
    throw Error(ErrorKind::kInvalid,
                "image tower: a picture of " + std::to_string(spec.image_px) + " px has no patch of " +
                    std::to_string(spec.patch_px),
                "choose image_px as a multiple of patch_px");
  if (spec.rotary != jobs::RotaryOrder::kOff && (spec.patch_dropout > 0 || spec.width / spec.heads % 4 != 0))
    throw Error(ErrorKind::kInvalid,
                "image tower: rotary positions take heads of a multiple of 4 numbers and all patches",
                "leave patch_dropout out");
  if (spec.no_class_token &&
      (spec.pooling == jobs::ImagePooling::kUnset || spec.pooling == jobs::ImagePooling::kClass))
    throw Error(ErrorKind::kInvalid, "image tower: without a class token there is none to read",
                "set pooling to mean or attention");
  return std::make_unique<VisionTransformer>(spec, set);
}

}  // namespace trireme::worker::models
