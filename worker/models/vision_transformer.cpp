#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers.h"
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
        conv1_(set.uniform("visual.conv1.weight", {spec.width, 3, spec.patch_px, spec.patch_px},
                           1 / std::sqrt(3.0 * static_cast<double>(spec.patch_px * spec.patch_px)))),
        ln_pre_(nn::make_layer_norm(set, "visual.ln_pre", spec.width)),
        transformer_(set, "visual.transformer", {spec.width, spec.layers, spec.heads, spec.quick_gelu, false},
                     false),
        ln_post_(nn::make_layer_norm(set, "visual.ln_post", spec.width)) {}

  std::int64_t width() const override { return spec_.width; }

  at::Tensor forward(const at::Tensor& image_BCHW) const override {
    if (image_BCHW.dim() != 4 || image_BCHW.size(1) != 3 || image_BCHW.size(2) != spec_.image_px ||
        image_BCHW.size(3) != spec_.image_px)
      throw Error(ErrorKind::kInvalid, "the vision transformer takes images [B, 3, " +
                                           std::to_string(spec_.image_px) + ", " +
                                           std::to_string(spec_.image_px) + "]");
    // A patch convolution of stride = kernel is one matrix product over unfolded patches.
    const std::int64_t batch = image_BCHW.size(0), p = spec_.patch_px;
    const at::Tensor patches_BGK = image_BCHW.slice(2, 0, grid_ * p)
                                       .slice(3, 0, grid_ * p)
                                       .view({batch, 3, grid_, p, grid_, p})
                                       .permute({0, 2, 4, 1, 3, 5})
                                       .reshape({batch, grid_ * grid_, 3 * p * p});
    at::Tensor x_BLT = at::linear(patches_BGK, conv1_.view({spec_.width, 3 * p * p}));
    const at::Tensor first = class_embedding_.to(x_BLT.scalar_type()).expand({batch, 1, spec_.width});
    x_BLT = at::cat({first, x_BLT}, 1) + positional_embedding_.to(x_BLT.scalar_type());
    const std::int64_t length = x_BLT.size(1);
    const at::Tensor class_B = at::arange(batch, x_BLT.options().dtype(at::kLong)) * length;
    const at::Tensor x_MT = ln_pre_.forward(x_BLT).view({batch * length, spec_.width});
    return ln_post_.forward(transformer_.read(x_MT, {batch, length, {}, class_B, class_B}));
  }

 private:
  double scale() const { return 1 / std::sqrt(static_cast<double>(spec_.width)); }

  jobs::ImageTowerSpec spec_;
  std::int64_t grid_;
  at::Tensor class_embedding_, positional_embedding_, conv1_;
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
