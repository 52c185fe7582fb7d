#include "worker/models/model_cost.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "jobs/specification/model_defaults.h"
#include "worker/models/captioner/caption_decoder.h"
#include "worker/models/towers/efficientnet_shape.h"
#include "worker/models/towers/towers.h"
#include "worker/nn/convolution.h"

namespace trireme::worker::models {
namespace {

constexpr double kFloat = 4;

double real(std::int64_t value) {
  return static_cast<double>(value);
}

std::int64_t count(const nn::ParameterSet& set) {
  std::int64_t sum = 0;
  for (const auto& entry : set.entries()) sum += entry.buffer ? 0 : entry.tensor.numel();
  return sum;
}

// One transformer block over L tokens of width T with an MLP of width M = 4 T: 4 T^2 L + 2 T M L products and
// 2 T L^2 of attention (multiply-adds). Kept: the input of either norm, their outputs, q k v, what attention
// mixed, and either side of the activation (the quick one keeps two more): 8 T + 2 M (+ 3 M) floats per
// token, and one log-sum per head.
void add_transformer(TowerCost& cost, std::int64_t layers, std::int64_t width, std::int64_t heads,
                     double length, bool quick_gelu, bool checkpointing, std::int64_t mlp_width = 0) {
  const double wide = real(width), mlp = real(mlp_width > 0 ? mlp_width : 4 * width);
  cost.forward_flops +=
      2 * real(layers) * ((4 * wide + 2 * mlp) * wide * length + 2 * wide * length * length);
  const double block = kFloat * length * (8 * wide + (quick_gelu ? 5 : 2) * mlp + real(heads));
  cost.activation_bytes +=
      checkpointing ? real(layers) * kFloat * length * wide + block : real(layers) * block;
}

TowerCost vit_cost(const jobs::ImageTowerSpec& spec) {
  TowerCost cost;
  const std::int64_t grid = spec.image_px / spec.patch_px, inner = 3 * spec.patch_px * spec.patch_px;
  const double kept = std::max(1.0, std::floor(real(grid * grid) * (1 - spec.patch_dropout) + 1e-9));
  cost.forward_flops = 2 * kept * real(inner) * real(spec.width);
  cost.activation_bytes = kFloat * (kept * real(inner) + 2 * (kept + 1) * real(spec.width));
  add_transformer(cost, spec.layers, spec.width, spec.heads, kept + 1, spec.quick_gelu,
                  spec.gradient_checkpointing, spec.mlp_width.value_or(0));
  return cost;
}

// Convolution, batch norm and activation at side x side: kept are the input of the convolution (counted by
// whoever made it), of the norm and of the activation.
struct MapCost {
  double flops = 0, bytes = 0;
  std::int64_t side = 0;
  void conv(nn::Padding padding, std::int64_t in_per_group, std::int64_t out, std::int64_t kernel,
            std::int64_t stride, bool activation) {
    side = nn::side_after(padding, side, kernel, stride);
    const double map = real(side * side) * real(out);
    flops += 2 * map * real(in_per_group * kernel * kernel);
    bytes += kFloat * map * (activation ? 3 : 2);
  }
};

TowerCost efficientnet_cost(const jobs::ImageTowerSpec& spec) {
  const EfficientNetShape shape = efficientnet_shape(spec);
  const nn::Padding padding = padding_of(spec.padding);
  MapCost map{0, kFloat * 3 * real(spec.image_px * spec.image_px), spec.image_px};
  map.conv(padding, 3, shape.stem, 3, 2, true);
  double inputs = 0, largest = 0;
  const double before = map.bytes;
  double blocks = 0;
  for (const EfficientNetBlock& block : shape.blocks) {
    MapCost one{0, 0, map.side};
    const std::int64_t inner = block.in * block.expand;
    inputs += kFloat * real(map.side * map.side * block.in);
    if (block.expand != 1) one.conv(padding, block.in, inner, 1, 1, true);
    one.conv(padding, 1, inner, block.kernel, block.stride, true);
    if (block.squeeze > 0) {
      one.flops += 2 * 2 * real(inner * block.squeeze);
      one.bytes += kFloat * real(one.side * one.side * inner);
    }
    one.conv(padding, inner, block.out, 1, 1, false);
    map.flops += one.flops;
    map.side = one.side;
    blocks += one.bytes;
    largest = std::max(largest, one.bytes);
  }
  map.bytes = before + (spec.gradient_checkpointing ? inputs + largest : blocks);
  if (shape.head > 0) map.conv(padding, shape.blocks.back().out, shape.head, 1, 1, true);
  return {0, map.flops, map.bytes};
}

TowerCost text_cost(const jobs::TextTowerSpec& spec, std::int64_t length) {
  TowerCost cost;
  const bool quick = spec.kind == jobs::TextTowerKind::kTransformer && spec.quick_gelu;
  cost.activation_bytes = kFloat * real(length) * real(spec.width);
  add_transformer(cost, spec.layers, spec.width, spec.heads, real(length), quick, spec.gradient_checkpointing,
                  spec.mlp_width.value_or(0));
  if (spec.kind == jobs::TextTowerKind::kBert && spec.pooling == jobs::TextPooling::kPooler)
    cost.forward_flops += 2 * real(spec.width * spec.width);
  return cost;
}

// Tokens that the image tower gives a caption decoder.
std::int64_t image_positions(const jobs::ImageTowerSpec& spec) {
  const bool vit = spec.kind == jobs::ImageTowerKind::kVit;
  const std::int64_t side = vit ? spec.image_px / spec.patch_px : (spec.image_px + 31) / 32;
  return side * side + (vit && !spec.no_class_token ? 1 : 0);
}

// Beside a transformer's: queries, output and mixing of the cross-attention (kept: input of the norm, query,
// mixed), keys and values of the image once per layer, and the output layer (kept: logits, their softmax).
TowerCost decoder_cost(const jobs::TextTowerSpec& spec, std::int64_t length, std::int64_t vocabulary,
                       std::int64_t image_width, std::int64_t image_tokens) {
  TowerCost cost;
  const double wide = real(spec.width), tokens = real(length), looked_at = real(image_tokens);
  cost.activation_bytes = kFloat * tokens * wide;
  add_transformer(cost, spec.layers, spec.width, spec.heads, tokens, false, false);
  cost.forward_flops +=
      2 * real(spec.layers) *
      (2 * wide * wide * tokens + 2 * wide * tokens * looked_at + 2 * wide * real(image_width) * looked_at);
  cost.activation_bytes += kFloat * real(spec.layers) * (4 * wide * tokens + 2 * wide * looked_at);
  cost.forward_flops += 2 * tokens * wide * (wide + real(vocabulary));
  cost.activation_bytes += kFloat * tokens * (4 * wide + 2 * real(vocabulary));
  return cost;
}

void add_projection(TowerCost& cost, jobs::ProjectionKind kind, std::int64_t width, std::int64_t embed_dim) {
  if (kind == jobs::ProjectionKind::kNone) return;
  cost.parameters += width * embed_dim + (kind == jobs::ProjectionKind::kLinear ? embed_dim : 0);
  cost.forward_flops += 2 * real(width * embed_dim);
}

}  // namespace

ModelCost model_cost(const jobs::ModelSpec& model, std::int64_t vocabulary_size, std::int64_t text_length) {
  jobs::ModelSpec spec = model;
  jobs::resolve_model_defaults(spec);
  ModelCost cost;
  const bool vit = spec.image.kind == jobs::ImageTowerKind::kVit,
             transformer = spec.text.kind == jobs::TextTowerKind::kTransformer;
  nn::ParameterSet image_set(0), text_set(0);
  const auto image =
      vit ? make_vision_transformer(spec.image, image_set) : make_efficientnet(spec.image, image_set);
  cost.image = vit ? vit_cost(spec.image) : efficientnet_cost(spec.image);
  const std::int64_t length = text_length > 0 ? text_length : spec.text.context;
  if (spec.text.kind == jobs::TextTowerKind::kDecoder) {
    const std::int64_t vocabulary = vocabulary_size + spec.text.extra_tokens;
    const CaptionDecoder decoder(spec.text, vocabulary, image->width(), text_set);
    cost.text = decoder_cost(spec.text, length, vocabulary, image->width(), image_positions(spec.image));
  } else {
    const auto text = transformer ? make_text_transformer(spec.text, {vocabulary_size, 2, 0}, text_set)
                                  : make_bert(spec.text, vocabulary_size, 0, text_set);
    cost.text = text_cost(spec.text, length);
    add_projection(cost.image, spec.image.projection, image->width(), spec.embed_dim);
    add_projection(cost.text, spec.text.projection, text->width(), spec.embed_dim);
  }
  cost.image.parameters += count(image_set);
  cost.text.parameters += count(text_set);
  if (spec.image.frozen) cost.image.activation_bytes = 0;
  if (spec.text.frozen) cost.text.activation_bytes = 0;
  cost.step_flops = cost.image.forward_flops * (spec.image.frozen ? 1 : 3) +
                    cost.text.forward_flops * (spec.text.frozen ? 1 : 3);
  return cost;
}

std::string cost_json(const jobs::ModelSpec& spec, const ModelCost& cost) {
  const auto tower = [](const TowerCost& one) {
    return nlohmann::ordered_json{{"parameters", one.parameters},
                                  {"forward_gflops", one.forward_flops / 1e9},
                                  {"activation_bytes", one.activation_bytes}};
  };
  return nlohmann::ordered_json{{"image_px", spec.image.image_px},
                                {"context", spec.text.context},
                                {"parameters", cost.parameters()},
                                {"image", tower(cost.image)},
                                {"text", tower(cost.text)},
                                {"step_gflops", cost.step_flops / 1e9},
                                {"activation_bytes", cost.activation_bytes()}}
      .dump();
}

}  // namespace trireme::worker::models
