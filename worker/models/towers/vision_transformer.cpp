#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers/towers.h"
#include "worker/nn/transformer.h"

namespace trireme::worker::models {
namespace {

class VisionTransformer final : public Tower {
 public:
  VisionTransformer(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set)
      : spec_(spec),
        grid_(spec.image_px / spec.patch_px),
        class_embedding_(set.normal("visual.class_embedding", {spec.width}, scale())),
        positional_embedding_(
            set.normal("visual.positional_embedding", {grid_ * grid_ + 1, spec.width}, scale())),
        conv1_(set.uniform("visual.conv1.weight", {spec.width, 3, spec.patch_px, spec.patch_px}, bound())),
        conv1_bias_(spec.patch_bias ? set.uniform("visual.conv1.bias", {spec.width}, bound()) : at::Tensor()),
        ln_pre_(spec.ln_pre ? nn::make_layer_norm(set, "visual.ln_pre", spec.width, spec.layer_norm_epsilon)
                            : nn::LayerNorm()),
        transformer_(set, "visual.transformer",
                     {.width = spec.width,
                      .layers = spec.layers,
                      .heads = spec.heads,
                      .quick_gelu = spec.quick_gelu,
                      .causal = false,
                      .layer_norm_epsilon = spec.layer_norm_epsilon,
                      .stochastic_depth = spec.stochastic_depth,
                      .gradient_checkpointing = spec.gradient_checkpointing},
                     false),
        ln_post_(nn::make_layer_norm(set, "visual.ln_post", spec.width, spec.layer_norm_epsilon)) {}

  std::int64_t width() const override { return spec_.width; }

  at::Tensor forward(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const override {
    const at::Tensor x_BLT = start(image_BCHW, context);
    const std::int64_t batch = x_BLT.size(0), length = x_BLT.size(1);
    const at::Tensor class_B = at::arange(batch, x_BLT.options().dtype(at::kLong)) * length;
    const at::Tensor x_MT = x_BLT.view({batch * length, spec_.width});
    return ln_post_.forward(transformer_.read(x_MT, {batch, length, {}, class_B, class_B}, context));
  }

  at::Tensor tokens(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const override {
    return ln_post_.forward(transformer_.forward(start(image_BCHW, context), context));
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

  double scale() const { return 1 / std::sqrt(static_cast<double>(spec_.width)); }
  double bound() const { return 1 / std::sqrt(3.0 * static_cast<double>(spec_.patch_px * spec_.patch_px)); }

  // Class token and patches with their positions. A patch convolution of stride = kernel is one matrix
  // product over unfolded patches; those that training drops are left out before it.
  at::Tensor embed(const at::Tensor& image_BCHW, const nn::ForwardContext& context) const {
    const std::int64_t batch = image_BCHW.size(0), p = spec_.patch_px, inner = 3 * p * p;
    at::Tensor patches_BGK = image_BCHW.contiguous()
                                 .view({batch, 3, grid_, p, grid_, p})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({batch, grid_ * grid_, inner});
    at::Tensor position_GT = positional_embedding_.slice(0, 1);
    if (context.training && spec_.patch_dropout > 0) {
      const at::Tensor kept_BK =
          nn::kept_patches(batch, grid_ * grid_, spec_.patch_dropout, context).to(image_BCHW.device());
      patches_BGK = patches_BGK.gather(1, kept_BK.unsqueeze(2).expand({-1, -1, inner}));
      position_GT = at::embedding(position_GT, kept_BK);
    }
    const auto bias = conv1_bias_.defined() ? std::optional<at::Tensor>(conv1_bias_) : std::nullopt;
    const at::Tensor x_BLT = at::linear(patches_BGK, conv1_.view({spec_.width, inner}), bias);
    const auto dtype = x_BLT.scalar_type();
    const at::Tensor first_T = (class_embedding_ + positional_embedding_.select(0, 0)).to(dtype);
    return at::cat({first_T.expand({batch, 1, spec_.width}), x_BLT + position_GT.to(dtype)}, 1);
  }

  jobs::ImageTowerSpec spec_;
  std::int64_t grid_;
  at::Tensor class_embedding_, positional_embedding_, conv1_, conv1_bias_;
  nn::LayerNorm ln_pre_;
  nn::Transformer transformer_;
  nn::LayerNorm ln_post_;
};

}  // namespace

std::unique_ptr<Tower> make_vision_transformer(const jobs::ImageTowerSpec& spec, nn::ParameterSet& set) {
  if (spec.heads < 1 || spec.width % spec.heads != 0)
    throw Error(ErrorKind::kInvalid,
                "image tower: width " + std::to_string(spec.width) + " is not a multiple of its " +
                    std::to_string(spec.heads) + " heads",
                "choose heads that divide width");
  if (spec.patch_px < 1 || spec.image_px % spec.patch_px != 0)
    throw Error(ErrorKind::kInvalid,
                "image tower: image_px " + std::to_string(spec.image_px) + " is not a multiple of patch_px " +
                    std::to_string(spec.patch_px),
                "choose image_px as a multiple of patch_px");
  return std::make_unique<VisionTransformer>(spec, set);
}

}  // namespace trireme::worker::models
