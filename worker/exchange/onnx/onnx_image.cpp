#include <ATen/ATen.h>

#include "worker/exchange/onnx/onnx_layers.h"
#include "worker/models/towers/efficientnet_shape.h"
#include "worker/models/towers/towers.h"
#include "worker/nn/convolution.h"

namespace trireme::worker::exchange {
namespace {

using Ints = std::vector<std::int64_t>;

// ---- vit ----

// One row [1, T] for every image: [batch, 1, T].
std::string for_every_image(OnnxLayers& l, const std::string& image, const at::Tensor& row_1T) {
  TensorGraph& g = l.graph;
  const std::string batch = g.add("Slice", {g.add("Shape", {image}), g.numbers({0}), g.numbers({1})});
  const std::string sides =
      g.add("Concat", {batch, g.numbers({1, row_1T.size(1)})}, {{"axis", std::int64_t{0}}});
  return g.add("Expand", {g.constant(row_1T.unsqueeze(0)), sides});
}

// Class token and patches with their positions, [batch, L, T].
std::string patches(OnnxLayers& l, const jobs::ImageTowerSpec& image, const std::string& input) {
  TensorGraph& g = l.graph;
  const std::int64_t before = image.no_class_token ? 0 : 1;
  std::vector<std::string> inputs{input, g.constant(l.tensor("visual.conv1.weight"))};
  if (image.patch_bias) inputs.push_back(g.constant(l.tensor("visual.conv1.bias")));
  const std::string map = g.add("Conv", inputs,
                                {{"kernel_shape", Ints{image.patch_px, image.patch_px}},
                                 {"strides", Ints{image.patch_px, image.patch_px}}});
  const std::string rows =
      g.add("Transpose", {l.reshape(map, {0, image.width, -1})}, {{"perm", Ints{0, 2, 1}}});
  const at::Tensor positions = l.tensor("visual.positional_embedding");
  const std::string placed = g.add("Add", {rows, g.constant(positions.slice(0, before))});
  if (before == 0) return placed;
  const at::Tensor first = (l.tensor("visual.class_embedding") + positions.select(0, 0)).unsqueeze(0);
  return g.add("Concat", {for_every_image(l, input, first), placed}, {{"axis", std::int64_t{1}}});
}

// SigLIP's head.
std::string attention_pool(OnnxLayers& l, const jobs::ImageTowerSpec& image, const std::string& input,
                           const std::string& x) {
  const std::string name = "visual.attn_pool.";
  const std::int64_t heads = image.pooling_heads.value_or(image.heads), width = image.width;
  const at::Tensor weight = l.tensor(name + "in_proj_weight"), bias = l.tensor(name + "in_proj_bias");
  const at::Tensor query = at::linear(l.tensor(name + "latent").view({1, width}), weight.slice(0, 0, width),
                                      bias.slice(0, 0, width));
  const auto parts = l.graph.split(l.linear(x, weight.slice(0, width), bias.slice(0, width)), -1, 2);
  const std::string mixed = l.linear(
      l.attend(l.heads_of(for_every_image(l, input, query), heads, width), l.heads_of(parts[0], heads, width),
               l.heads_of(parts[1], heads, width), heads, width, ""),
      name + "proj.weight", name + "proj.bias");
  const std::string inner = l.activate(l.linear(l.layer_norm(mixed, name + "norm", image.layer_norm_epsilon),
                                                name + "mlp.fc1.weight", name + "mlp.fc1.bias"),
                                       models::activation_of(image.activation, image.quick_gelu));
  return l.graph.add("Add", {mixed, l.linear(inner, name + "mlp.fc2.weight", name + "mlp.fc2.bias")});
}

// CoCa's.
std::string query_pool(OnnxLayers& l, const jobs::ImageTowerSpec& image, const std::string& input,
                       const std::string& x) {
  const std::string name = "visual.attn_pool.";
  const std::int64_t heads = image.pooling_heads.value_or(8),
                     width = image.pooling_width.value_or(image.width);
  const auto weight = [&](std::int64_t i, const char* own) {
    return l.has(name + "attn.in_proj_weight")
               ? l.tensor(name + "attn.in_proj_weight").slice(0, i * width, (i + 1) * width)
               : l.tensor(name + own);
  };
  const auto bias = l.tensor(name + "attn.in_proj_bias").chunk(3);
  const at::Tensor first =
      at::layer_norm(l.tensor(name + "query").slice(0, 0, 1), {width}, l.tensor(name + "ln_q.weight"),
                     l.tensor(name + "ln_q.bias"), image.layer_norm_epsilon);
  const at::Tensor query = at::linear(first, weight(0, "attn.q_proj_weight"), bias[0]);
  const std::string normed = l.layer_norm(x, name + "ln_k", image.layer_norm_epsilon);
  return l.linear(
      l.attend(l.heads_of(for_every_image(l, input, query), heads, width),
               l.heads_of(l.linear(normed, weight(1, "attn.k_proj_weight"), bias[1]), heads, width),
               l.heads_of(l.linear(normed, weight(2, "attn.v_proj_weight"), bias[2]), heads, width), heads,
               width, ""),
      name + "attn.out_proj.weight", name + "attn.out_proj.bias");
}

std::string vit(OnnxLayers& l, const jobs::ImageTowerSpec& image, const std::string& input) {
  TensorGraph& g = l.graph;
  const double epsilon = image.layer_norm_epsilon;
  const std::int64_t before = image.no_class_token ? 0 : 1, grid = image.image_px / image.patch_px;
  std::string x = patches(l, image, input);
  if (image.ln_pre) x = l.layer_norm(x, "visual.ln_pre", epsilon);
  nn::Rotary rotary;
  if (image.rotary != jobs::RotaryOrder::kOff)
    rotary =
        nn::rotary_of_square(grid, image.width / image.heads, before, image.rotary == jobs::RotaryOrder::kXy,
                             static_cast<double>(image.rotary_offset.value_or(0)),
                             static_cast<double>(image.rotary_reference.value_or(grid)), at::kCPU);
  x = l.transformer(x, "visual.transformer",
                    {.width = image.width,
                     .layers = image.layers,
                     .heads = image.heads,
                     .activation = models::activation_of(image.activation, image.quick_gelu),
                     .post_norm = image.post_norm,
                     .gated_mlp = image.gated_mlp,
                     .attention_norm = image.attention_norm,
                     .mlp_norm = image.mlp_norm,
                     .layer_scale = image.layer_scale,
                     .layer_norm_epsilon = epsilon},
                    "", rotary);
  const auto post = [&](const std::string& value) { return l.layer_norm(value, "visual.ln_post", epsilon); };
  const auto row = [&](const std::string& value) { return l.reshape(value, {0, -1}); };
  const auto mean = [&](const std::string& value) {
    const std::string tokens =
        before == 0
            ? value
            : g.add("Slice", {value, g.numbers({before}), g.numbers({before + grid * grid}), g.numbers({1})});
    return g.add("ReduceMean", {tokens}, {{"axes", Ints{1}}, {"keepdims", std::int64_t{0}}});
  };
  switch (image.pooling) {
    case jobs::ImagePooling::kQueries:
      return row(post(query_pool(l, image, input, x)));
    case jobs::ImagePooling::kAttention:
      return row(attention_pool(l, image, input, post(x)));
    case jobs::ImagePooling::kMean:
      return image.norm_after_pooling ? post(mean(x)) : mean(post(x));
    default:
      return post(
          g.add("Gather", {x, g.constant(at::scalar_tensor(0, at::kLong))}, {{"axis", std::int64_t{1}}}));
  }
}

// ---- efficientnet ----

// Maps are squares, of which the side is known.
struct Map {
  std::string value;
  std::int64_t side = 0;
};

class OnnxEfficientNet {
 public:
  OnnxEfficientNet(OnnxLayers& layers, const jobs::ImageTowerSpec& image)
      : l_(layers),
        shape_(models::efficientnet_shape(image)),
        padding_(models::padding_of(image.padding)),
        epsilon_(image.batch_norm.epsilon) {}

  std::string features(const std::string& input, std::int64_t side) {
    Map x = activate(convolve({input, side}, "visual._conv_stem", "visual._bn0", 3, 2, 1));
    for (std::size_t i = 0; i < shape_.blocks.size(); ++i) x = block(x, i);
    if (shape_.head > 0) x = activate(convolve(x, "visual._conv_head", "visual._bn1", 1, 1, 1));
    return l_.graph.add("ReduceMean", {x.value}, {{"axes", Ints{2, 3}}, {"keepdims", std::int64_t{0}}});
  }

 private:
  // A convolution with its norm's stored statistics folded in.
  Map convolve(const Map& x, const std::string& conv, const std::string& norm, std::int64_t kernel,
               std::int64_t stride, std::int64_t groups) {
    const at::Tensor scale =
        l_.tensor(norm + ".weight") / (l_.tensor(norm + ".running_var") + epsilon_).sqrt();
    const at::Tensor shift = l_.tensor(norm + ".bias") - l_.tensor(norm + ".running_mean") * scale;
    const auto margin = nn::margin_of(padding_, x.side, kernel, stride);
    return {l_.graph.add("Conv",
                         {x.value, l_.graph.constant(l_.tensor(conv + ".weight") * scale.view({-1, 1, 1, 1})),
                          l_.graph.constant(shift)},
                         {{"kernel_shape", Ints{kernel, kernel}},
                          {"strides", Ints{stride, stride}},
                          {"pads", Ints{margin.before, margin.before, margin.after, margin.after}},
                          {"group", groups}}),
            nn::side_after(padding_, x.side, kernel, stride)};
  }

  Map activate(const Map& x) {
    if (!shape_.relu6) return {l_.silu(x.value), x.side};
    return {l_.graph.add("Clip", {x.value, l_.graph.number(0), l_.graph.number(6)}), x.side};
  }

  std::string dense(const std::string& x, const std::string& name) {
    return l_.graph.add(
        "Conv",
        {x, l_.graph.constant(l_.tensor(name + ".weight")), l_.graph.constant(l_.tensor(name + ".bias"))},
        {{"kernel_shape", Ints{1, 1}}});
  }

  Map block(const Map& x, std::size_t index) {
    const auto& of = shape_.blocks[index];
    const std::string name = "visual._blocks." + std::to_string(index);
    Map y = of.expand == 1 ? x : activate(convolve(x, name + "._expand_conv", name + "._bn0", 1, 1, 1));
    y = activate(
        convolve(y, name + "._depthwise_conv", name + "._bn1", of.kernel, of.stride, of.in * of.expand));
    if (of.squeeze > 0) {
      const std::string pooled = l_.graph.add("GlobalAveragePool", {y.value});
      const std::string excited = dense(l_.silu(dense(pooled, name + "._se_reduce")), name + "._se_expand");
      y.value = l_.graph.add("Mul", {y.value, l_.graph.add("Sigmoid", {excited})});
    }
    y = convolve(y, name + "._project_conv", name + "._bn2", 1, 1, 1);
    if (of.residual) y.value = l_.graph.add("Add", {x.value, y.value});
    return y;
  }

  OnnxLayers& l_;
  models::EfficientNetShape shape_;
  nn::Padding padding_;
  double epsilon_;
};

}  // namespace

void build_onnx_image(OnnxLayers& layers, const jobs::ModelSpec& spec) {
  const jobs::ImageTowerSpec& image = spec.image;
  const std::string input = layers.graph.input("pixel_values", {"batch", 3, image.image_px, image.image_px});
  const std::string features = image.kind == jobs::ImageTowerKind::kVit
                                   ? vit(layers, image, input)
                                   : OnnxEfficientNet(layers, image).features(input, image.image_px);
  layers.graph.output(layers.project(features, image.projection, "visual.proj", "visual.projection"),
                      "image_embeds", {"batch", spec.embed_dim});
}

}  // namespace trireme::worker::exchange
