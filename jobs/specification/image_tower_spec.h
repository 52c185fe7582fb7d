// The image tower of a model, as data.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

enum class BatchNormPolicy { kUnset, kStored, kBatch, kGhost };
constexpr std::array<std::string_view, 4> names_of(BatchNormPolicy) {
  return {"", "stored", "batch", "ghost"};
}

// Which statistics the batch norms of an image tower use while it trains (evaluation: the stored ones).
struct BatchNormSpec {
  BatchNormPolicy policy = BatchNormPolicy::kUnset;  // default: "stored" with weights, "ghost" without
  std::int64_t group = 16;                           // "ghost": samples per group
  double momentum = 0.01;                            // share of the batch in the stored statistics
  double epsilon = 1e-3;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("policy", policy,
            {.help = "statistics in training: stored (as they are), batch (of the slot), ghost (of groups); "
                     "empty: stored with weights, ghost from scratch"});
    v.field("group", group,
            {.help = "ghost: samples per group",
             .least = 1,
             .most = 65536,
             .unread = unless(policy == BatchNormPolicy::kUnset || policy == BatchNormPolicy::kGhost,
                              "only policy ghost has groups")});
    v.field("momentum", momentum,
            {.help = "share of a step in the stored statistics", .least = 0, .most = 1});
    v.field("epsilon", epsilon, {.help = "added to the variance", .least = 1e-8, .most = 0.1});
  }
};

enum class ImageTowerKind {
  kVit,
  kEfficientNetB0,
  kEfficientNetB1,
  kEfficientNetB2,
  kEfficientNetB3,
  kEfficientNetB4,
  kEfficientNetB5,
  kEfficientNetB6,
  kEfficientNetB7,
  kEfficientNetL2,
  kEfficientNetLite0,
  kEfficientNetLite1,
  kEfficientNetLite2
};
constexpr std::array<std::string_view, 13> names_of(ImageTowerKind) {
  return {"vit",
          "efficientnet_b0",
          "efficientnet_b1",
          "efficientnet_b2",
          "efficientnet_b3",
          "efficientnet_b4",
          "efficientnet_b5",
          "efficientnet_b6",
          "efficientnet_b7",
          "efficientnet_l2",
          "efficientnet_lite0",
          "efficientnet_lite1",
          "efficientnet_lite2"};
}
enum class ResizeMode { kUnset, kShortest, kSquare, kLongest };
constexpr std::array<std::string_view, 4> names_of(ResizeMode) {
  return {"", "shortest", "square", "longest"};
}
enum class Interpolation { kUnset, kBicubic, kBilinear };
constexpr std::array<std::string_view, 3> names_of(Interpolation) {
  return {"", "bicubic", "bilinear"};
}
// Where the crop begins when what is left over is odd: at its half, rounded half to even as torchvision and
// open_clip do (also when empty), or rounded down as transformers' processors do.
enum class CropRounding { kUnset, kHalfToEven, kDown };
constexpr std::array<std::string_view, 3> names_of(CropRounding) {
  return {"", "half_to_even", "down"};
}
// How exact the weights of the resize are: 16 bits, as in torchvision's resize of bytes (also when empty), or
// 22, as in Pillow, which open_clip and timm resize with. Three values of a thousand differ by a level.
enum class Resampling { kUnset, kTorch, kPillow };
constexpr std::array<std::string_view, 3> names_of(Resampling) {
  return {"", "torch", "pillow"};
}
// Into the shared space: x P, x W^T + b, or nothing.
enum class ProjectionKind { kUnset, kMatrix, kLinear, kNone };
constexpr std::array<std::string_view, 4> names_of(ProjectionKind) {
  return {"", "matrix", "linear", "none"};
}
enum class PositionResize { kAntialias, kAlignCorners };
constexpr std::array<std::string_view, 2> names_of(PositionResize) {
  return {"antialias", "align_corners"};
}
enum class ActivationKind { kByQuickGelu, kGeluTanh };
constexpr std::array<std::string_view, 2> names_of(ActivationKind) {
  return {"", "gelu_tanh"};
}
enum class ImagePooling { kUnset, kClass, kMean, kAttention, kQueries };
constexpr std::array<std::string_view, 5> names_of(ImagePooling) {
  return {"", "class", "mean", "attention", "queries"};
}
enum class RotaryOrder { kOff, kIj, kXy };
constexpr std::array<std::string_view, 3> names_of(RotaryOrder) {
  return {"", "ij", "xy"};
}
enum class PaddingKind { kUnset, kAsymmetric, kSame, kSymmetric };
constexpr std::array<std::string_view, 4> names_of(PaddingKind) {
  return {"", "asymmetric", "same", "symmetric"};
}

// How an image becomes a tensor: resize (antialiased) the short side to resize_px, the long side truncated
// ("shortest"), both sides ("square"), or the long side, the rest filled with fill_level ("longest"); centre
// crop to image_px, (byte/255 - mean)/std. Training crops at random instead (AugmentSpec). Empty or absent
// fields take what the config beside the weights says (jobs/checkpoint), else the tower's own values, see
// model_defaults.h.
struct ImageTowerSpec {
  ImageTowerKind kind = ImageTowerKind::kVit;
  std::string weights;  // safetensors path or "pretrained:<name>"; empty: from scratch
  bool frozen = false;  // no gradient; its output can be stored once by an embed stage
  std::int64_t image_px = 224;
  std::optional<std::int64_t> resize_px;
  ResizeMode resize_mode = ResizeMode::kUnset;
  Interpolation interpolation = Interpolation::kUnset;
  CropRounding crop_rounding = CropRounding::kUnset;
  Resampling resampling = Resampling::kUnset;
  std::vector<double> mean, std;  // 3 each
  ProjectionKind projection = ProjectionKind::kUnset;
  double stochastic_depth = 0;  // share of samples that skip the last block; linear from 0 at the first
  bool gradient_checkpointing = false;
  std::int64_t patch_px = 32;  // vit, as are the next nine
  std::int64_t width = 768;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  bool quick_gelu = false;
  bool ln_pre = true;
  bool patch_bias = false;
  double layer_norm_epsilon = 1e-5;
  double patch_dropout = 0;
  PositionResize position_resize = PositionResize::kAntialias;
  std::optional<std::int64_t> mlp_width;  // inside of the blocks' MLPs; 4 width
  ActivationKind activation = ActivationKind::kByQuickGelu;
  ImagePooling pooling = ImagePooling::kUnset;
  bool norm_after_pooling = false, layer_scale = false, no_class_token = false;
  // EVA's blocks: norms behind the branches, a gated MLP, norms inside attention and MLP; rotary positions.
  bool post_norm = false, gated_mlp = false, attention_norm = false, mlp_norm = false;
  RotaryOrder rotary = RotaryOrder::kOff;
  std::optional<std::int64_t> rotary_offset, rotary_reference;
  std::optional<std::int64_t> pooling_heads, pooling_queries, pooling_width, pooling_mlp_width;
  std::optional<std::int64_t> fill_level;            // resize_mode "longest"
  std::optional<double> width_factor, depth_factor;  // efficientnet, as are the next three
  PaddingKind padding = PaddingKind::kUnset;
  std::optional<bool> head_conv;
  BatchNormSpec batch_norm;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind, {.help = "image tower"});
    v.field("weights", weights,
            {.help = "safetensors file or checkpoint folder, or pretrained:efficientnet-lite0; empty: from "
                     "scratch"});
    v.field("frozen", frozen,
            {.help = "keep the tower as it is; its outputs can be stored once by an embed stage"});
    v.field("image_px", image_px, {.help = "side of the square input", .least = 8, .most = 1024});
    v.field("resize_px", resize_px, {.help = "side before the centre crop", .least = 8, .most = 2048});
    v.field(
        "resize_mode", resize_mode,
        {.help = "resize_px is the short side (shortest), both sides, which distorts (square), or the long "
                 "side, the rest filled (longest)"});
    v.field("fill_level", fill_level,
            {.help = "longest: byte value of what is filled (0)", .least = 0, .most = 255, .quiet = true});
    v.field("interpolation", interpolation, {.help = "antialiased filter of the resize"});
    v.field("crop_rounding", crop_rounding,
            {.help = "where the centre crop begins when an odd rest is halved: half_to_even (torchvision, "
                     "open_clip; also when empty) or down (transformers)",
             .quiet = true});
    v.field("resampling", resampling,
            {.help = "weights of the resize in evaluation: torch (as torchvision resizes bytes; also when "
                     "empty) or pillow (open_clip, timm), a level apart in 3 of 1000 values",
             .quiet = true});
    v.field("mean", mean, {.help = "per channel, of bytes/255", .most = 3});
    v.field("std", std, {.help = "per channel, of bytes/255", .most = 3});
    v.field("projection", projection,
            {.help = "into the shared space: x P (matrix), x W^T + b (linear), or none, when the tower is as "
                     "wide as embed_dim; empty: matrix for vit, linear for efficientnet"});
    v.field("stochastic_depth", stochastic_depth,
            {.help = "share of samples that skip the last residual block; falls linearly to 0 at the first",
             .least = 0,
             .most = 0.9});
    v.field("gradient_checkpointing", gradient_checkpointing,
            {.help = "keep the input of each block only and compute it again for its gradient"});
    visit_vit(v);
    visit_efficientnet(v);
  }

 private:
  template <class Visitor>
  void visit_vit(Visitor& v) {
    v.field("patch_px", patch_px,
            {.help = "vit: side of a patch",
             .least = 1,
             .most = 256,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("width", width,
            {.help = "vit: width",
             .least = 8,
             .most = 8192,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("layers", layers,
            {.help = "vit: blocks",
             .least = 1,
             .most = 128,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("heads", heads,
            {.help = "vit: attention heads",
             .least = 1,
             .most = 128,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("quick_gelu", quick_gelu,
            {.help = "vit: x*sigmoid(1.702x) instead of the exact GELU",
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("ln_pre", ln_pre,
            {.help = "vit: layer norm before the first block (CLIP's)",
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("patch_bias", patch_bias,
            {.help = "vit: the patch convolution has a bias (not CLIP's)",
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("layer_norm_epsilon", layer_norm_epsilon,
            {.help = "vit: added to the variance",
             .least = 1e-12,
             .most = 0.1,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("patch_dropout", patch_dropout,
            {.help = "vit: share of patches left out of each training image (FLIP)",
             .least = 0,
             .most = 0.95,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has no patches")});
    v.field(
        "position_resize", position_resize,
        {.help = "vit: how position embeddings of another resolution become ours: bicubic with half-pixel "
                 "centres and antialias, or with aligned corners (older open_clip)"});
    visit_vit_variants(v);
    visit_vit_pooling(v);
  }
  // What other families than CLIP have.
  template <class Visitor>
  void visit_vit_variants(Visitor& v) {
    v.field("mlp_width", mlp_width,
            {.help = "vit: width inside the blocks' MLPs; null: 4 width",
             .least = 8,
             .most = 65536,
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("activation", activation,
            {.help = "vit: gelu_tanh is GELU by its tanh formula; empty: as quick_gelu says",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field(
        "pooling", pooling,
        {.help = "vit: the class token (class, also when empty), the mean of the patches, SigLIP's attention "
                 "with its MLP (attention), or CoCa's first query (queries)",
         .quiet = true,
         .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("norm_after_pooling", norm_after_pooling,
            {.help = "vit: the last layer norm acts on the pooled vector",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("layer_scale", layer_scale,
            {.help = "vit: a trained factor per channel of each residual branch",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("no_class_token", no_class_token,
            {.help = "vit: patches alone, as SigLIP",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    visit_vit_eva(v);
  }
  template <class Visitor>
  void visit_vit_eva(Visitor& v) {
    v.field("post_norm", post_norm,
            {.help = "vit: layer norms behind the branches (EVA02-E)",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("gated_mlp", gated_mlp,
            {.help = "vit: the MLP's input is SiLU of one product times another (EVA02)",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("attention_norm", attention_norm,
            {.help = "vit: a layer norm before attention's output product",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("mlp_norm", mlp_norm,
            {.help = "vit: a layer norm before the MLP's output product",
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field(
        "rotary", rotary,
        {.help =
             "vit: rotary positions of the patches beside the learnt ones, by row and column (ij) or column "
             "and row (xy)",
         .quiet = true,
         .unread = unless(kind == ImageTowerKind::kVit, "an efficientnet has none")});
    v.field("rotary_offset", rotary_offset,
            {.help = "vit: number of the first row and column (0)",
             .least = 0,
             .most = 16,
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit && rotary != RotaryOrder::kOff, "rotary is off")});
    v.field(
        "rotary_reference", rotary_reference,
        {.help =
             "vit: patches a side that rotary positions count as, whatever the resolution; null: as many as "
             "there are",
         .least = 1,
         .most = 1024,
         .quiet = true,
         .unread = unless(kind == ImageTowerKind::kVit && rotary != RotaryOrder::kOff, "rotary is off")});
  }
  template <class Visitor>
  void visit_vit_pooling(Visitor& v) {
    v.field("pooling_heads", pooling_heads,
            {.help = "vit, pooling by attention or queries: heads; null: as heads, 8 for queries",
             .least = 1,
             .most = 128,
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit &&
                                  (pooling == ImagePooling::kAttention || pooling == ImagePooling::kQueries),
                              "only pooling by attention or queries has it")});
    v.field("pooling_queries", pooling_queries,
            {.help = "vit, pooling by queries: how many there are (256)",
             .least = 1,
             .most = 4096,
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit && pooling == ImagePooling::kQueries,
                              "only pooling by queries has it")});
    v.field("pooling_mlp_width", pooling_mlp_width,
            {.help = "vit, pooling by attention: width inside its MLP; null: as in the blocks",
             .least = 8,
             .most = 65536,
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit && pooling == ImagePooling::kAttention,
                              "only pooling by attention has it")});
    v.field("pooling_width", pooling_width,
            {.help = "vit, pooling by queries: width of what they give; null: as width",
             .least = 8,
             .most = 8192,
             .quiet = true,
             .unread = unless(kind == ImageTowerKind::kVit && pooling == ImagePooling::kQueries,
                              "only pooling by queries has it")});
  }
  template <class Visitor>
  void visit_efficientnet(Visitor& v) {
    v.field("width_factor", width_factor,
            {.help = "efficientnet: factor of the widths instead of the kind's own",
             .least = 0.1,
             .most = 10,
             .unread = unless(kind != ImageTowerKind::kVit, "a vit has none")});
    v.field("depth_factor", depth_factor,
            {.help = "efficientnet: factor of the repeats instead of the kind's own",
             .least = 0.1,
             .most = 10,
             .unread = unless(kind != ImageTowerKind::kVit, "a vit has none")});
    v.field("padding", padding,
            {.help = "efficientnet, stride 2: one pixel less before than after at any size (asymmetric, "
                     "ALIGN's), TensorFlow's SAME (same), or PyTorch's (symmetric); empty: asymmetric for b0 "
                     "to l2, same for lite",
             .unread = unless(kind != ImageTowerKind::kVit, "a vit has none")});
    v.field("head_conv", head_conv,
            {.help = "efficientnet: the classifier's 1x1 convolution before the pooling; default: lite only",
             .unread = unless(kind != ImageTowerKind::kVit, "a vit has none")});
    v.field("batch_norm", batch_norm,
            {.help = "efficientnet: batch norm",
             .unread = unless(kind != ImageTowerKind::kVit, "a vit has none")});
  }
};

}  // namespace trireme::jobs
